//! How long what is settled is kept, and what pruning did.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// How long things are kept, counted from when they were settled, or came; none: for good.
///
/// What is not settled is never pruned, whatever its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Deliveries that were taken.
    pub delivered: Kept,
    /// Deliveries in whose place a newer one stands.
    pub superseded: Kept,
    /// Deliveries that a person gave up.
    pub discarded: Kept,
    /// Dead letters behind which their lane goes on. They are kept whole, so that they can be replayed, or not at all.
    pub dead: Option<Duration>,
    /// Notifications that no route matched; kept whole.
    pub unrouted: Option<Duration>,
    /// Notifications that cannot be read; kept whole.
    pub unreadable: Option<Duration>,
    /// Notifications of unknown senders; kept whole.
    pub quarantined: Option<Duration>,
    /// Notifications without a record that the routes skip.
    pub skipped_empty: Option<Duration>,
    /// How long a notification is known at least, so that a repeat is told from a new one.
    pub dedupe: Duration,
    /// Entries of the audit log.
    pub audit: Option<Duration>,
}

/// How long the parts of a settled delivery are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The record's XML, and the texts of requests and answers.
    pub payloads: Option<Duration>,
    /// The attempts.
    pub attempts: Option<Duration>,
    /// The delivery itself, and then its notification.
    pub rows: Option<Duration>,
}

impl Kept {
    /// Payloads 30 days, attempts and rows 90.
    pub const DEFAULT: Self = Self {
        payloads: Some(DAY.saturating_mul(30)),
        attempts: Some(DAY.saturating_mul(90)),
        rows: Some(DAY.saturating_mul(90)),
    };
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            delivered: Kept::DEFAULT,
            superseded: Kept::DEFAULT,
            discarded: Kept::DEFAULT,
            dead: None,
            unrouted: Some(DAY.saturating_mul(180)),
            unreadable: Some(DAY.saturating_mul(180)),
            quarantined: Some(DAY.saturating_mul(180)),
            skipped_empty: Some(DAY.saturating_mul(90)),
            dedupe: DAY.saturating_mul(30),
            audit: Some(DAY.saturating_mul(730)),
        }
    }
}

/// Asks for one small step of pruning.
#[derive(Clone, Debug)]
pub struct Prune {
    /// What is kept how long.
    pub retention: Retention,
    /// The present moment.
    pub now: Timestamp,
    /// Looks at no more than this many things.
    pub limit: usize,
    /// Begins nothing more when it has worked for so long.
    pub budget: Duration,
}

/// What pruning took away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Records and attempts whose texts were taken away; they themselves stay.
    pub payloads: u64,
    /// Attempts.
    pub attempts: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Notifications, each revision for itself; with them it is forgotten that they came.
    pub notifications: u64,
    /// Envelopes.
    pub envelopes: u64,
    /// Entries of the audit log.
    pub audit: u64,
    /// Bytes that the database's file gave back.
    pub bytes_returned: u64,
    /// Bytes in the file that nothing uses; what comes next uses them.
    pub bytes_free: u64,
    /// Whether the file can give space back: one made by an earlier omgate cannot before it was compacted once.
    pub can_shrink: bool,
    /// Whether nothing more is to do now.
    pub done: bool,
}

impl Pruned {
    /// Adds what a later step did.
    pub fn add(&mut self, step: &Self) {
        self.payloads += step.payloads;
        self.attempts += step.attempts;
        self.deliveries += step.deliveries;
        self.notifications += step.notifications;
        self.envelopes += step.envelopes;
        self.audit += step.audit;
        self.bytes_returned += step.bytes_returned;
        self.bytes_free = step.bytes_free;
        self.can_shrink = step.can_shrink;
        self.done = step.done;
    }

    /// Whether anything was taken away or given back.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let Self { payloads, attempts, deliveries, notifications, envelopes, audit, bytes_returned, .. } = self;
        [payloads, attempts, deliveries, notifications, envelopes, audit, bytes_returned].into_iter().all(|n| *n == 0)
    }
}

/// What a dry run finds: what pruning would take away now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Prunable {
    /// Records and attempts whose texts go; they themselves may stay.
    pub payloads: u64,
    /// Attempts that go.
    pub attempts: u64,
    /// Deliveries that go, less those that others need.
    pub deliveries: u64,
    /// Notifications that never had a delivery and go. Those of the deliveries go with these.
    pub notifications: u64,
    /// Entries of the audit log that go.
    pub audit: u64,
    /// Bytes in the file that nothing uses.
    pub bytes_free: u64,
    /// See [`Pruned::can_shrink`].
    pub can_shrink: bool,
}

/// A backup that could be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BackupRoom {
    /// The file, which is not there yet.
    pub file: String,
    /// About how large it would be.
    pub bytes: u64,
    /// What is free where it would be.
    pub free_bytes: u64,
}

/// A backup that was made and looked through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Backup {
    /// The file.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// How many notifications it holds.
    pub notifications: i64,
    /// How many deliveries it holds.
    pub deliveries: i64,
    /// Whether its ledger balances and agrees with its rows.
    pub balanced: bool,
}
