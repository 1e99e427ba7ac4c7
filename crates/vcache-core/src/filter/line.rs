//! Owns the line of a field's values: from the spans that comparisons let through to regions of cells, and back.
//!
//! A line has kinds of values one after the other — of a column there is one; in JSON there are strings, numbers and booleans — each cut into
//! cells where a filter tells values apart. Behind them stand a cell for values that equal none in a filter (JSON's lists and objects), if there can be
//! some, and one for having no value.

use super::region::Region;
use std::cmp::Ordering;

/// What a filter names: a value, as its owner orders and tells it.
pub trait Point: Clone {
    /// Bytes that tell it from every other.
    fn image(&self) -> &[u8];
}

/// Between two values of a kind that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge<P> {
    /// Before all values.
    Start,
    /// Right before this one.
    Before(P),
    /// Right behind this one.
    Behind(P),
    /// Behind all values.
    End,
}

impl<P> Edge<P> {
    fn cut(&self) -> Option<(&P, bool)> {
        match self {
            Self::Before(point) => Some((point, false)),
            Self::Behind(point) => Some((point, true)),
            Self::Start | Self::End => None,
        }
    }
}

/// The values of a kind between two edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span<P> {
    /// From 0.
    pub kind: usize,
    /// Where it begins.
    pub from: Edge<P>,
    /// Where it ends.
    pub to: Edge<P>,
}

/// What a comparison lets through of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed<P> {
    /// Which field, from 0.
    pub field: usize,
    /// Of its values.
    pub spans: Vec<Span<P>>,
    /// Values that equal none in a filter.
    pub others: bool,
    /// Having none.
    pub missing: bool,
}

/// The line of a field.
#[derive(Debug, Clone)]
pub struct Line<P> {
    /// For each kind, where it is cut: right before a value, or right behind it.
    kinds: Vec<Vec<(P, bool)>>,
    has_others: bool,
}

impl<P: Point> Line<P> {
    /// A line with so many kinds that all of `allowed` cut, in the order of `order`, which is given a kind and two of its values.
    /// Of values that are equal to it, one stands for all.
    pub fn new<'a>(
        kinds: usize,
        has_others: bool,
        allowed: impl Iterator<Item = &'a Allowed<P>>,
        order: impl Fn(usize, &P, &P) -> Ordering,
    ) -> Self
    where
        P: 'a,
    {
        let mut all: Vec<Vec<(P, bool)>> = vec![Vec::new(); kinds];
        for span in allowed.flat_map(|allowed| &allowed.spans) {
            let cuts = [&span.from, &span.to].into_iter().filter_map(Edge::cut);
            if let Some(kind) = all.get_mut(span.kind) {
                kind.extend(cuts.map(|(point, behind)| (point.clone(), behind)));
            }
        }
        for (kind, cuts) in all.iter_mut().enumerate() {
            cuts.sort_by(|a, b| compare(kind, a, b, &order).then_with(|| a.0.image().cmp(b.0.image())));
            cuts.dedup_by(|a, b| compare(kind, a, b, &order) == Ordering::Equal);
        }
        Self { kinds: all, has_others }
    }

    /// How many cells it has.
    pub fn cells(&self) -> u32 {
        self.missing() + 1
    }

    /// The region of what a comparison lets through, by the order that the line was made with.
    pub fn region(&self, allowed: &Allowed<P>, order: impl Fn(usize, &P, &P) -> Ordering) -> Region {
        let cells = |span: &Span<P>| (self.cell(span.kind, &span.from, &order), self.cell(span.kind, &span.to, &order));
        let mut parts: Vec<(u32, u32)> = allowed.spans.iter().map(cells).collect();
        if allowed.others && self.has_others {
            parts.push((self.others(), self.others() + 1));
        }
        if allowed.missing {
            parts.push((self.missing(), self.missing() + 1));
        }
        Region::union_of(parts)
    }

    /// What a region lets through: spans without gaps between them, in their order.
    pub fn allowed(&self, field: usize, region: &Region) -> Allowed<P> {
        let mut spans = Vec::new();
        for (kind, cuts) in self.kinds.iter().enumerate() {
            let (first, end) = (self.first(kind), self.first(kind + 1));
            for (from, to) in region.intersection(&Region::cells(first, end)).runs() {
                let cut = |cell: u32| cuts.get((cell - first).checked_sub(1)? as usize);
                let edge =
                    |cut: &(P, bool)| if cut.1 { Edge::Behind(cut.0.clone()) } else { Edge::Before(cut.0.clone()) };
                spans.push(Span {
                    kind,
                    from: cut(from).map_or(Edge::Start, edge),
                    to: cut(to).filter(|_| to < end).map_or(Edge::End, edge),
                });
            }
        }
        let holds = |cell: u32| !region.intersection(&Region::cells(cell, cell + 1)).is_none();
        Allowed { field, spans, others: self.has_others && holds(self.others()), missing: holds(self.missing()) }
    }

    /// Appends what tells where a cell begins, or the line ends, whatever other cuts the line has.
    pub fn describe(&self, cell: u32, out: &mut Vec<u8>) {
        const START: u8 = 0;
        const CUT: u8 = 1;
        const OTHERS: u8 = 2;
        const MISSING: u8 = 3;
        const END: u8 = 4;
        if cell >= self.missing() {
            return out.push(if cell == self.missing() { MISSING } else { END });
        }
        if self.has_others && cell == self.others() {
            return out.push(OTHERS);
        }
        let kind = (0..self.kinds.len()).rfind(|kind| self.first(*kind) <= cell).unwrap_or_default();
        let place = (cell - self.first(kind)) as usize;
        match place.checked_sub(1).and_then(|n| self.kinds.get(kind)?.get(n)) {
            None => out.extend([START, kind as u8]),
            Some((point, behind)) => {
                out.extend([CUT, kind as u8, u8::from(*behind)]);
                out.extend((point.image().len() as u32).to_le_bytes());
                out.extend(point.image());
            }
        }
    }

    /// The first cell of a kind; of one more than there are, the cell behind them.
    fn first(&self, kind: usize) -> u32 {
        self.kinds.iter().take(kind).map(|cuts| cuts.len() as u32 + 1).sum()
    }

    fn others(&self) -> u32 {
        self.first(self.kinds.len())
    }

    fn missing(&self) -> u32 {
        self.others() + u32::from(self.has_others)
    }

    /// The first cell behind an edge.
    fn cell(&self, kind: usize, edge: &Edge<P>, order: &impl Fn(usize, &P, &P) -> Ordering) -> u32 {
        let cuts = self.kinds.get(kind).map(Vec::as_slice).unwrap_or_default();
        let place = match edge.cut() {
            Some((point, behind)) => {
                cuts.partition_point(|cut| order(kind, &cut.0, point).then(cut.1.cmp(&behind)) == Ordering::Less) + 1
            }
            None if matches!(edge, Edge::Start) => 0,
            None => cuts.len() + 1,
        };
        self.first(kind) + place as u32
    }
}

fn compare<P>(kind: usize, a: &(P, bool), b: &(P, bool), order: &impl Fn(usize, &P, &P) -> Ordering) -> Ordering {
    order(kind, &a.0, &b.0).then(a.1.cmp(&b.1))
}
