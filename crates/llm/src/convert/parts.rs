//! What a message holds: mostly one part.

use std::{
    mem,
    ops::{Deref, DerefMut},
    slice,
};

use super::model::Part;

/// The parts of a message.
///
/// One alone stands where the message does: most messages have no other, and a long conversation of
/// short ones would be as many allocations.
#[derive(Debug)]
pub(super) enum Parts<'a> {
    One(Part<'a>),
    /// Any number.
    Several(Vec<Part<'a>>),
}

// ===== impl Parts =====

impl<'a> Parts<'a> {
    pub(super) fn push(&mut self, part: Part<'a>) {
        match self {
            Self::Several(parts) if parts.is_empty() => *self = Self::One(part),
            Self::Several(parts) => parts.push(part),
            Self::One(_) => {
                if let Self::One(first) = mem::take(self) {
                    *self = Self::Several(vec![first, part]);
                }
            }
        }
    }

    /// Adds all of these.
    pub(super) fn append(&mut self, more: impl Into<Self>) {
        match more.into() {
            more if self.is_empty() => *self = more,
            Self::One(part) => self.push(part),
            Self::Several(parts) => parts.into_iter().for_each(|part| self.push(part)),
        }
    }

    /// Keeps those for which this holds.
    pub(super) fn retain(&mut self, keep: impl Fn(&Part<'a>) -> bool) {
        match self {
            Self::One(part) if keep(part) => {}
            Self::One(_) => *self = Self::default(),
            Self::Several(parts) => parts.retain(keep),
        }
    }
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl<'a> From<Part<'a>> for Parts<'a> {
    fn from(part: Part<'a>) -> Self {
        Self::One(part)
    }
}

impl<'a> From<Vec<Part<'a>>> for Parts<'a> {
    fn from(parts: Vec<Part<'a>>) -> Self {
        Self::Several(parts)
    }
}

impl<'a> From<Parts<'a>> for Vec<Part<'a>> {
    fn from(parts: Parts<'a>) -> Self {
        match parts {
            Parts::One(part) => vec![part],
            Parts::Several(parts) => parts,
        }
    }
}

impl<'a> Deref for Parts<'a> {
    type Target = [Part<'a>];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::One(part) => slice::from_ref(part),
            Self::Several(parts) => parts,
        }
    }
}

impl DerefMut for Parts<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::One(part) => slice::from_mut(part),
            Self::Several(parts) => parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Parts;
    use crate::convert::model::{Part, PartKind};

    fn part(at: usize) -> Part<'static> {
        let kind = PartKind::Own;
        Part { kind, at }
    }

    fn places(parts: &Parts<'_>) -> Vec<usize> {
        parts.iter().map(|part| part.at).collect()
    }

    #[test]
    fn parts_stand_in_the_order_in_which_they_were_added() {
        let mut parts = Parts::default();
        for at in 0..4 {
            assert_eq!(places(&parts), (0..at).collect::<Vec<_>>());
            parts.push(part(at));
        }
        for (mut before, more, all) in [
            (Parts::default(), Parts::default(), vec![]),
            (Parts::default(), part(1).into(), vec![1]),
            (part(1).into(), Parts::default(), vec![1]),
            (part(1).into(), part(2).into(), vec![1, 2]),
            (
                vec![part(1), part(2)].into(),
                vec![part(3), part(4)].into(),
                vec![1, 2, 3, 4],
            ),
        ] {
            before.append(more);
            assert_eq!(places(&before), all);
            assert_eq!(Vec::from(before).len(), all.len());
        }
    }

    #[test]
    fn what_is_not_kept_is_gone() {
        for (mut parts, kept) in [
            (Parts::default(), vec![]),
            (part(1).into(), vec![]),
            (part(2).into(), vec![2]),
            (vec![part(1), part(2), part(3)].into(), vec![2]),
        ] {
            parts.retain(|part| part.at == 2);
            assert_eq!(places(&parts), kept);
            parts.push(part(9));
            assert_eq!(parts.last_mut().map(|part| part.at), Some(9));
        }
    }
}
