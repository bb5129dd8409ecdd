use crate::algorithm::Mark;

/// What a call took.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(super) at: u64,
    pub(super) marks: Marks,
}

/// Where in each cell.
#[derive(Debug)]
pub(super) enum Marks {
    Few([Mark; 4]),
    Many(Box<[Mark]>),
}

// ===== impl Marks =====

impl Marks {
    #[inline]
    pub(super) fn new(count: usize) -> Self {
        if count <= 4 {
            Self::Few([0; 4])
        } else {
            Self::Many(vec![0; count].into())
        }
    }

    #[inline]
    pub(super) fn set(&mut self, index: usize, mark: Mark) {
        match self {
            Self::Few(marks) => marks[index] = mark,
            Self::Many(marks) => marks[index] = mark,
        }
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Mark {
        match self {
            Self::Few(marks) => marks[index],
            Self::Many(marks) => marks[index],
        }
    }
}
