//! Deliberate faults, by which the simulation proves that it would find them. None can be switched on without the feature
//! `mutations`, which no release has: then [`active`] is a constant, and nothing of this is left in the program.

/// A rule of the delivery engine that can be broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each name says what is left out")]
pub enum Mutation {
    NoLeaseGuard = 1,
    AckBeforeCommit,
    AckOfTheImpatient,
    PromotionForgotten,
    DedupeKeyDropped,
    AttemptNotWritten,
    NewKeyForEachAttempt,
    NewBytesAfterUnknown,
    UnknownCountedAsRetry,
    RescueForgotten,
    LaneIgnoredForRetries,
    ReplayMakesNoWay,
    OutdatedReplayed,
    RevisionReplacesAttempted,
    RevisionOvertakes,
    CountersOutsideTransaction,
    StaleMarkNotWritten,
    BreakerNeverCloses,
    PauseIgnored,
    RetryAfterIgnored,
    DueTimeIgnored,
    DeadLetterHoldsNoLane,
    VerdictDropped,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::NoLeaseGuard,
        Self::AckBeforeCommit,
        Self::AckOfTheImpatient,
        Self::PromotionForgotten,
        Self::DedupeKeyDropped,
        Self::AttemptNotWritten,
        Self::NewKeyForEachAttempt,
        Self::NewBytesAfterUnknown,
        Self::UnknownCountedAsRetry,
        Self::RescueForgotten,
        Self::LaneIgnoredForRetries,
        Self::ReplayMakesNoWay,
        Self::OutdatedReplayed,
        Self::RevisionReplacesAttempted,
        Self::RevisionOvertakes,
        Self::CountersOutsideTransaction,
        Self::StaleMarkNotWritten,
        Self::BreakerNeverCloses,
        Self::PauseIgnored,
        Self::RetryAfterIgnored,
        Self::DueTimeIgnored,
        Self::DeadLetterHoldsNoLane,
        Self::VerdictDropped,
    ];
}

/// Whether this rule is broken now.
#[cfg(not(feature = "mutations"))]
#[inline]
#[must_use]
pub const fn active(_: Mutation) -> bool {
    false
}

#[cfg(feature = "mutations")]
pub use switch::{active, set};

#[cfg(feature = "mutations")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Mutation;

    static ACTIVE: AtomicU8 = AtomicU8::new(0);

    /// Whether this rule is broken now.
    #[must_use]
    pub fn active(mutation: Mutation) -> bool {
        ACTIVE.load(Ordering::SeqCst) == mutation as u8
    }

    /// Breaks a rule, in the whole process; none mends it.
    pub fn set(mutation: Option<Mutation>) {
        ACTIVE.store(mutation.map_or(0, |mutation| mutation as u8), Ordering::SeqCst);
    }
}
