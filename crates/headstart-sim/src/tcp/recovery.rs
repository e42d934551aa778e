//! How much is sent while losses are repaired: proportional rate reduction
//! (RFC 9937).

/// A recovery under way, in segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    /// What the window comes down to.
    target: u32,
    delivered: u32,
    out: u32,
}

impl Recovery {
    /// With this window before the loss; CUBIC takes three tenths (RFC 9438).
    pub(super) fn new(window: u32) -> Self {
        Self {
            target: (window.saturating_mul(7) / 10).max(2),
            delivered: 0,
            out: 0,
        }
    }

    pub(super) fn target(self) -> u32 {
        self.target
    }

    pub(super) fn sent(&mut self) {
        self.out = self.out.saturating_add(1);
    }

    /// How many segments may follow, if so many are under way and these have
    /// been delivered by an acknowledgement that `grows` the window: one that
    /// moves on and tells of no more losses.
    pub(super) fn allows(&mut self, under_way: u32, delivered: u32, grows: bool) -> u32 {
        self.delivered = self.delivered.saturating_add(delivered);
        let owed = self.delivered.saturating_sub(self.out);
        let allowed = match self.target.checked_sub(under_way) {
            Some(room) => room.min(owed.max(delivered).saturating_add(u32::from(grows))),
            None => owed.saturating_mul(7) / 10,
        };
        // The first of the lost goes again in any case.
        allowed.max(u32::from(self.out == 0))
    }
}
