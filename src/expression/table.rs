//! Lookup tables: key → value, read once with the configuration.

use std::collections::HashMap;
use std::sync::Arc;

/// All tables of a configuration, by name.
#[derive(Clone, Debug, Default)]
pub struct Tables(pub Arc<HashMap<String, Table>>);

impl Tables {
    /// The names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

/// One table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Key → value, to the letter.
    pub rows: HashMap<String, String>,
    /// What a key that is not there gives.
    pub on_missing: OnMissing,
}

/// What a key that is not in the table gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMissing {
    /// An error: the delivery is dead, and the reason names table and key.
    #[default]
    Dead,
    /// None.
    None,
}
