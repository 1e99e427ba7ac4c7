//! Owns the form of a filter by which another that means the same is known: its reduced, ordered decision diagram.
//!
//! A node asks for the cell of one field, and says for each where to go on; on every way down, fields come in their order. No node goes on to
//! the same from all cells, and no two nodes are alike, so a function has one diagram.

use super::line::{Line, Point};
use super::normal::Normal;
use std::collections::HashMap;

/// The most parts of nodes that are made on the way to a diagram.
pub const MOST: usize = 1 << 16;

/// Where a diagram goes on: at one of the two answers, or a node.
type Place = u32;
const FALSE: Place = 0;
const TRUE: Place = 1;

/// Asks for the cell of a field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    field: usize,
    /// From which cell on it goes on where; the first is 0.
    parts: Vec<(u32, Place)>,
}

/// The form of a filter over fields that are told by `names`, in their order, and have these lines; `None` when it is true of every row.
pub fn form<P: Point>(normal: &Normal, names: &[Vec<u8>], lines: &[Line<P>]) -> Option<Vec<u8>> {
    form_within(MOST, normal, names, lines)
}

/// The same, where a diagram is given up at so many parts.
pub fn form_within<P: Point>(most: usize, normal: &Normal, names: &[Vec<u8>], lines: &[Line<P>]) -> Option<Vec<u8>> {
    const NOTHING: u8 = 0;
    const DIAGRAM: u8 = 1;
    const TREE: u8 = 2;
    let mut builder = Builder { most, cells: lines.iter().map(Line::cells).collect(), ..Builder::default() };
    match builder.build(normal) {
        Some(TRUE) => None,
        Some(FALSE) => Some(vec![NOTHING]),
        Some(root) => {
            let mut out = vec![DIAGRAM];
            let mut written = HashMap::from([(FALSE, FALSE), (TRUE, TRUE)]);
            builder.write(root, names, lines, &mut written, &mut out);
            Some(out)
        }
        None => {
            let mut out = vec![TREE];
            write_tree(normal, names, lines, &mut out);
            Some(out)
        }
    }
}

/// Nodes on the way to a diagram.
#[derive(Default)]
struct Builder {
    /// The most parts of nodes.
    most: usize,
    /// How many cells each field has.
    cells: Vec<u32>,
    nodes: Vec<Node>,
    places: HashMap<Node, Place>,
    joined: HashMap<(bool, Place, Place), Place>,
    parts: usize,
}

impl Builder {
    /// `None` when there are too many.
    fn build(&mut self, normal: &Normal) -> Option<Place> {
        match normal {
            Normal::Everything => Some(TRUE),
            Normal::Nothing => Some(FALSE),
            Normal::Field(field, region) => {
                let mut parts = vec![(0, FALSE)];
                let cells = self.cells.get(*field).copied().unwrap_or_default();
                for (n, cell) in region.turns().take_while(|cell| *cell < cells).enumerate() {
                    let part = (cell, if n % 2 == 0 { TRUE } else { FALSE });
                    // A region that begins with the line.
                    if cell == 0 { parts = vec![part] } else { parts.push(part) }
                }
                self.node(*field, parts)
            }
            Normal::All(parts) => self.join(true, parts),
            Normal::Any(parts) => self.join(false, parts),
        }
    }

    fn join(&mut self, all: bool, parts: &[Normal]) -> Option<Place> {
        let mut joined = if all { TRUE } else { FALSE };
        // From the last field on: so each is put above what is there, which stays as it is.
        for part in parts.iter().rev() {
            let part = self.build(part)?;
            joined = self.apply(all, joined, part)?;
        }
        Some(joined)
    }

    /// Both, if `all`; else one of the two.
    fn apply(&mut self, all: bool, a: Place, b: Place) -> Option<Place> {
        let (decides, idle) = if all { (FALSE, TRUE) } else { (TRUE, FALSE) };
        if a == decides || b == decides {
            return Some(decides);
        }
        if a == idle || a == b {
            return Some(b);
        }
        if b == idle {
            return Some(a);
        }
        let key = (all, a.min(b), a.max(b));
        if let Some(known) = self.joined.get(&key) {
            return Some(*known);
        }
        let (one, other) = (self.at(a)?.clone(), self.at(b)?.clone());
        let field = one.field.min(other.field);
        let parts = |node: Node, place| if node.field == field { node.parts } else { vec![(0, place)] };
        let (ours, theirs) = (parts(one, a), parts(other, b));
        let (mut ours, mut theirs) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
        let (mut of_ours, mut of_theirs, mut merged) = (FALSE, FALSE, Vec::new());
        while let Some(cell) = [ours.peek(), theirs.peek()].into_iter().flatten().map(|part| part.0).min() {
            of_ours = ours.next_if(|part| part.0 == cell).map_or(of_ours, |part| part.1);
            of_theirs = theirs.next_if(|part| part.0 == cell).map_or(of_theirs, |part| part.1);
            merged.push((cell, self.apply(all, of_ours, of_theirs)?));
        }
        let place = self.node(field, merged)?;
        self.joined.insert(key, place);
        Some(place)
    }

    fn at(&self, place: Place) -> Option<&Node> {
        self.nodes.get((place - 2) as usize)
    }

    fn node(&mut self, field: usize, mut parts: Vec<(u32, Place)>) -> Option<Place> {
        self.parts += parts.len();
        if self.parts > self.most {
            return None;
        }
        parts.dedup_by_key(|part| part.1);
        if let [(_, only)] = parts[..] {
            return Some(only);
        }
        let node = Node { field, parts };
        if let Some(place) = self.places.get(&node) {
            return Some(*place);
        }
        let place = self.nodes.len() as Place + 2;
        self.nodes.push(node.clone());
        self.places.insert(node, place);
        Some(place)
    }

    /// Writes what a place leads to, each node once and behind those that it leads to; the number by which it goes from here on.
    fn write<P: Point>(
        &self,
        place: Place,
        names: &[Vec<u8>],
        lines: &[Line<P>],
        written: &mut HashMap<Place, u32>,
        out: &mut Vec<u8>,
    ) -> u32 {
        if let Some(number) = written.get(&place) {
            return *number;
        }
        let Some(node) = self.at(place) else { return FALSE };
        let numbers: Vec<_> =
            node.parts.iter().map(|(_, next)| self.write(*next, names, lines, written, out)).collect();
        write_name(node.field, names, out);
        out.extend((node.parts.len() as u32).to_le_bytes());
        for ((cell, _), number) in node.parts.iter().zip(numbers) {
            out.extend(number.to_le_bytes());
            if let Some(line) = lines.get(node.field) {
                line.describe(*cell, out);
            }
        }
        let number = written.len() as u32;
        written.insert(place, number);
        number
    }
}

fn write_tree<P: Point>(normal: &Normal, names: &[Vec<u8>], lines: &[Line<P>], out: &mut Vec<u8>) {
    const FIELD: u8 = 2;
    const ALL: u8 = 3;
    const ANY: u8 = 4;
    match normal {
        Normal::Everything => out.push(TRUE as u8),
        Normal::Nothing => out.push(FALSE as u8),
        Normal::Field(field, region) => {
            out.push(FIELD);
            write_name(*field, names, out);
            out.extend((region.turns().count() as u32).to_le_bytes());
            let Some(line) = lines.get(*field) else { return };
            region.turns().for_each(|cell| line.describe(cell, out));
        }
        Normal::All(parts) | Normal::Any(parts) => {
            out.push(if matches!(normal, Normal::All(_)) { ALL } else { ANY });
            out.extend((parts.len() as u32).to_le_bytes());
            parts.iter().for_each(|part| write_tree(part, names, lines, out));
        }
    }
}

fn write_name(field: usize, names: &[Vec<u8>], out: &mut Vec<u8>) {
    let name = names.get(field).map(Vec::as_slice).unwrap_or_default();
    out.extend((name.len() as u32).to_le_bytes());
    out.extend(name);
}
