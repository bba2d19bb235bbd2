//! The order in which a gateway's key is replaced (SECURITY 15): publish the next one, wait until every pod has it, hand
//! it over, and after the overlap drop the old one. The same for certificates and for credentials.

use jiff::{SignedDuration, Timestamp};

/// How soon after something was staged it is asked again whether every pod knows it.
pub const ACKNOWLEDGED_WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// Hand the next one over.
    Promote {
        /// End of the overlap.
        drop_previous_after: Timestamp,
    },
    /// Drop the previous one.
    DropPrevious,
}

/// How far a rotation has come.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Now.
    pub now: Timestamp,
    /// How long the old one stays valid.
    pub overlap: SignedDuration,
    /// When the one before the present one is no longer accepted, if one still is.
    pub overlap_end: Option<Timestamp>,
}

impl Stage {
    /// With a staged one. `published`: every pod knows it. `forced`: from then on waiting would do more harm than a pod
    /// that has not answered for days. The second value is when the clock changes the answer.
    pub fn with_next(&self, published: bool, forced: Timestamp) -> (Step, Timestamp) {
        // One before the current one is remembered, and a gateway may present it until its overlap is over.
        let overlapping = self.overlap_end.filter(|end| *end > self.now);
        if forced <= self.now || (overlapping.is_none() && published) {
            let drop_previous_after = self.later(self.overlap);
            return (Step::Promote { drop_previous_after }, drop_previous_after);
        }
        // Acknowledgements wake nobody, so they are looked for.
        let again_at = overlapping.unwrap_or_else(|| self.later(ACKNOWLEDGED_WITHIN)).min(forced);
        let over = self.overlap_end.is_some() && overlapping.is_none();
        (if over { Step::DropPrevious } else { Step::Keep }, again_at)
    }

    /// Without one. `again_at`: when the clock asks for one.
    pub fn without_next(&self, again_at: Timestamp) -> (Step, Timestamp) {
        match self.overlap_end {
            Some(end) if end <= self.now => (Step::DropPrevious, again_at),
            Some(end) => (Step::Keep, again_at.min(end)),
            None => (Step::Keep, again_at),
        }
    }

    fn later(&self, by: SignedDuration) -> Timestamp {
        self.now.saturating_add(by).unwrap_or(self.now)
    }
}
