//! The audit log: what people did.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Who wants something, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// The person, as far as it is known; empty when it is not.
    pub who: String,
    /// Why; may be empty.
    pub reason: String,
}

impl By {
    /// A person with a reason.
    #[must_use]
    pub fn new(who: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { who: who.into(), reason: reason.into() }
    }
}

/// One thing that a person did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Its number: rises by one.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: the user of the operating system and from where; empty when it is not known.
    pub who: String,
    /// What: `replay`, `hold`, `pause`, `prune` …
    pub verb: String,
    /// To what kind of thing: `delivery`, `system`, `job` …
    pub object: String,
    /// To which one.
    pub object_id: String,
    /// To how many.
    pub count: u64,
    /// Why, as the person said it.
    pub reason: String,
    /// What came of it: `done`, or in words.
    pub result: String,
}

/// An entry to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: Timestamp,
    /// Who and why.
    pub by: By,
    /// What.
    pub verb: String,
    /// To what kind of thing.
    pub object: &'static str,
    /// To which one.
    pub object_id: String,
    /// To how many.
    pub count: u64,
    /// What came of it: `done`, or in words.
    pub result: String,
}

/// Which entries to list; newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditFilter {
    /// Whose name holds this text.
    pub who: Option<String>,
    /// With this verb.
    pub verb: Option<String>,
    /// About this kind of thing.
    pub object: Option<String>,
    /// About this one.
    pub object_id: Option<String>,
    /// Not before this moment.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
    /// Below this id: the cursor.
    pub before: Option<i64>,
    /// At most this many (default 100, at most 1,000).
    pub limit: Option<u32>,
}
