//! Owns sets of cells: the values of one field that a condition lets through.

/// A set of cells of a line, by the cells at which one comes into it or leaves it, in their order. It is left again for each time
/// that it is come into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Region(Vec<u32>);

impl Region {
    /// The cells from `from` on, before `to`.
    pub fn cells(from: u32, to: u32) -> Self {
        if from < to { Self(vec![from, to]) } else { Self::default() }
    }

    /// What is in one or more of these.
    pub fn union_of(mut parts: Vec<(u32, u32)>) -> Self {
        parts.retain(|(from, to)| from < to);
        parts.sort_unstable();
        let mut turns: Vec<u32> = Vec::with_capacity(parts.len() * 2);
        for (from, to) in parts {
            match turns.last_mut() {
                Some(end) if *end >= from => *end = to.max(*end),
                _ => turns.extend([from, to]),
            }
        }
        Self(turns)
    }

    /// Whether it is empty.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is all of a line of so many cells.
    pub fn is_all(&self, cells: u32) -> bool {
        *self == Self::cells(0, cells)
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && b)
    }

    /// What is in one or both.
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a || b)
    }

    /// What is not in it, of a line of so many cells.
    pub fn complement(&self, cells: u32) -> Self {
        self.combine(&Self::cells(0, cells), |a, b| a != b)
    }

    /// The cells at which one comes into it or leaves it.
    pub fn turns(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// Its parts without gaps, each from a cell on, before another.
    pub fn runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.as_chunks().0.iter().map(|[from, to]| (*from, *to))
    }

    /// `is_in` tells of what is in the one, and in the other; it is false of what is in neither.
    fn combine(&self, other: &Self, is_in: impl Fn(bool, bool) -> bool) -> Self {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let (mut in_ours, mut in_theirs, mut inside) = (false, false, false);
        let mut turns = Vec::with_capacity(self.0.len() + other.0.len());
        while let Some(cell) = [ours.peek(), theirs.peek()].into_iter().flatten().map(|cell| **cell).min() {
            in_ours ^= ours.next_if_eq(&&cell).is_some();
            in_theirs ^= theirs.next_if_eq(&&cell).is_some();
            if is_in(in_ours, in_theirs) != inside {
                inside = !inside;
                turns.push(cell);
            }
        }
        Self(turns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CELLS: u32 = 16;

    /// The region of the bits that are set.
    fn region(bits: u16) -> Region {
        (0..CELLS)
            .filter(|cell| bits >> cell & 1 == 1)
            .fold(Region::default(), |all, cell| all.union(&Region::cells(cell, cell + 1)))
    }

    proptest! {
        #[test]
        fn regions_are_sets(a: u16, b: u16) {
            let (x, y) = (region(a), region(b));
            prop_assert_eq!(x.union(&y), region(a | b));
            prop_assert_eq!(Region::union_of(y.runs().chain(x.runs()).collect()), region(a | b));
            prop_assert_eq!(x.intersection(&y), region(a & b));
            prop_assert_eq!(x.complement(CELLS), region(!a));
            prop_assert_eq!(x.is_none(), a == 0);
            prop_assert_eq!(x.is_all(CELLS), a == u16::MAX);
            let mut bits = 0u16;
            for (from, to) in x.runs() {
                prop_assert!(from < to);
                (from..to).for_each(|cell| bits |= 1 << cell);
            }
            prop_assert_eq!(bits, a);
        }
    }
}
