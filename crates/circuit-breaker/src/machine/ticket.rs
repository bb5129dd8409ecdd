/// That a call was admitted, by which generation, and whether as a probe, with a place or without.
/// In one word: it is moved with every future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

// ===== impl Ticket =====

impl Ticket {
    const PROBE: u64 = 1;
    const NO_PLACE: u64 = 2;
    const BITS: u32 = 2;

    pub(crate) const fn new(generation: u64, probe: bool) -> Self {
        Self(generation << Self::BITS | probe as u64)
    }

    pub(crate) const fn generation(self) -> u64 {
        self.0 >> Self::BITS
    }

    pub(crate) const fn is_probe(self) -> bool {
        self.0 & Self::PROBE != 0
    }

    /// Of a probe: whether nobody else is let through for it.
    pub(crate) const fn has_place(self) -> bool {
        self.0 & Self::NO_PLACE == 0
    }

    pub(super) const fn without_place(self) -> Self {
        Self(self.0 | Self::NO_PLACE)
    }
}
