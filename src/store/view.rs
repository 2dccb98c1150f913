//! Saved views: what a list is asked, under a name that all operators share.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// So many are kept.
pub const VIEWS_MAX: u32 = 200;

/// What a list is asked, under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SavedView {
    /// Which list: `deliveries` or `notifications`.
    pub list: String,
    /// Its name, one of a kind in its list.
    pub name: String,
    /// The query of the list's page.
    pub query: String,
    /// Who saved it so.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Why there can be no more.
pub(super) fn full() -> String {
    format!("there are {VIEWS_MAX} saved views already: forget some that nobody uses")
}

/// That there is none of this name.
pub(super) fn missing(list: &str, name: &str) -> String {
    format!("a saved view {name:?} of {list}")
}
