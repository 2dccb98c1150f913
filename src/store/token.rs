//! Tokens of the admin API, as the store keeps them.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// How long one may count: from a minute to two years.
pub const TOKEN_LIFE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(731 * 86_400);
/// So many are kept, those that are over included.
pub const TOKENS_MAX: u32 = 1_000;
/// What is over is forgotten after this long, in milliseconds: 90 days.
pub(crate) const FORGOTTEN_AFTER_MS: i64 = 90 * 86_400_000;

/// A token, less its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Token {
    /// By what it is named in commands.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// The word of its role.
    pub role: String,
    /// The words of rights that were added to the role, with blanks between them.
    pub rights: String,
    /// The words of what it may be used for, with blanks between them; empty: everything.
    pub scope: String,
    /// Since when.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// When it was used last, to the minute.
    pub used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// By whom.
    pub revoked_by: Option<String>,
}

impl Token {
    /// Why it is over; none while it counts.
    #[must_use]
    pub fn over(&self, now: Timestamp) -> Option<String> {
        if let Some(at) = self.revoked_at {
            return Some(format!("the token was revoked at {at}"));
        }
        (now >= self.expires_at).then(|| format!("the token expired at {}", self.expires_at))
    }
}
