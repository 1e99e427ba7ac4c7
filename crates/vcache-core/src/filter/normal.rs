//! Owns what is left of a filter when negations stand nowhere but in the fields' regions, and nothing that says nothing is left.

use super::Expression;
use super::region::Region;
use std::collections::{BTreeMap, BTreeSet};

/// A filter, simplified.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Normal {
    /// True of every row.
    Everything,
    /// True of none.
    Nothing,
    /// One field's values; not none, and not all.
    Field(usize, Region),
    /// All of them; at least two, none of which is of this kind again, and at most one for each field.
    All(Vec<Normal>),
    /// One of them; the same.
    Any(Vec<Normal>),
}

/// Whether parts must hold together or one is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    All,
    Any,
}

impl Normal {
    /// Simplifies a filter over fields with so many cells.
    pub fn new(filter: &Expression<(usize, Region)>, cells: &[u32]) -> Self {
        Self::of(filter, cells, false)
    }

    fn of(filter: &Expression<(usize, Region)>, cells: &[u32], negated: bool) -> Self {
        let all = |parts: &[_]| parts.iter().map(|part| Self::of(part, cells, negated)).collect();
        match filter {
            Expression::Not(part) => Self::of(part, cells, !negated),
            Expression::All(parts) => Self::join(if negated { Join::Any } else { Join::All }, all(parts), cells),
            Expression::Any(parts) => Self::join(if negated { Join::All } else { Join::Any }, all(parts), cells),
            Expression::Leaf((field, region)) => {
                let cells = cells.get(*field).copied().unwrap_or_default();
                Self::field(*field, if negated { region.complement(cells) } else { region.clone() }, cells)
            }
        }
    }

    fn field(field: usize, region: Region, cells: u32) -> Self {
        match region {
            none if none.is_none() => Self::Nothing,
            all if all.is_all(cells) => Self::Everything,
            region => Self::Field(field, region),
        }
    }

    fn join(join: Join, parts: Vec<Self>, cells: &[u32]) -> Self {
        // What decides alone, and what says nothing.
        let (decides, idle) = match join {
            Join::All => (Self::Nothing, Self::Everything),
            Join::Any => (Self::Everything, Self::Nothing),
        };
        let mut fields: BTreeMap<usize, Vec<Region>> = BTreeMap::new();
        let mut others = BTreeSet::new();
        let flat = parts.into_iter().flat_map(|part| match (join, part) {
            (Join::All, Self::All(parts)) | (Join::Any, Self::Any(parts)) => parts,
            (_, part) => vec![part],
        });
        for part in flat.filter(|part| *part != idle) {
            match part {
                Self::Field(field, region) => fields.entry(field).or_default().push(region),
                part => drop(others.insert(part)),
            }
        }
        let fields = fields.into_iter().map(|(field, regions)| {
            let cells = cells.get(field).copied().unwrap_or_default();
            // All at once: one by one, each would be looked through for each.
            let union = |regions: &[Region]| Region::union_of(regions.iter().flat_map(Region::runs).collect());
            let joined = match join {
                Join::Any => union(&regions),
                Join::All => {
                    let rests: Vec<Region> = regions.iter().map(|region| region.complement(cells)).collect();
                    union(&rests).complement(cells)
                }
            };
            Self::field(field, joined, cells)
        });
        let mut parts: Vec<Self> = fields.chain(others).collect();
        if parts.contains(&decides) {
            return decides;
        }
        match parts.len() {
            0 => idle,
            1 => parts.pop().unwrap_or(idle),
            _ if join == Join::All => Self::All(parts),
            _ => Self::Any(parts),
        }
    }
}
