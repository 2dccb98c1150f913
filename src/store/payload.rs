//! What the tables hold of records, calls and answers: which columns, and how a walk writes them anew.

use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

/// A table with columns that hold payloads.
#[derive(Debug)]
pub struct PayloadTable {
    /// Its name.
    pub name: &'static str,
    /// The columns that tell its rows apart: a number, and perhaps a text.
    pub key: &'static [&'static str],
    /// The columns.
    pub columns: &'static [&'static str],
}

/// All of them. The names of columns are also the kinds of values that are sealed, together with the table's.
pub static PAYLOADS: [PayloadTable; 8] = [
    PayloadTable { name: "notification", key: &["id"], columns: &["xml", "reason"] },
    PayloadTable {
        name: "attempt",
        key: &["lease"],
        columns: &["request_line", "request", "response", "fault", "reason"],
    },
    PayloadTable { name: "delivery", key: &["id"], columns: &["reason", "repeat_key"] },
    PayloadTable { name: "kept", key: &["delivery", "name"], columns: &["value", "text", "warning"] },
    PayloadTable { name: "refused", key: &["id"], columns: &["body", "reason"] },
    PayloadTable { name: "system", key: &["name"], columns: &["paused_reason", "broken_reason"] },
    PayloadTable { name: "searched", key: &["notification", "name"], columns: &["value"] },
    PayloadTable { name: "saved_view", key: &["id"], columns: &["query"] },
];

/// A row's payloads, in the order of its table's columns.
pub type Payloads = Vec<Option<String>>;

/// What a walk does with each row: other payloads in place of those it has, or none where they may stay.
#[derive(Clone)]
pub struct Rewrite(pub Arc<RowRewrite>);

/// See [`Rewrite`].
pub type RowRewrite = dyn Fn(&'static PayloadTable, &Payloads) -> Option<Payloads> + Send + Sync;

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rewrite")
    }
}

/// How far a walk came: the row that it looked at last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadMark {
    /// The place of the table in [`PAYLOADS`].
    pub table: usize,
    /// The first column of the row's key.
    pub id: i64,
    /// The second, where there is one.
    pub name: String,
}

impl Default for PayloadMark {
    fn default() -> Self {
        Self { table: 0, id: i64::MIN, name: String::new() }
    }
}

/// What one step of a walk did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Where the next step begins; none: there is nothing more.
    pub next: Option<PayloadMark>,
    /// Rows looked at.
    pub looked: u64,
    /// Rows written anew.
    pub changed: u64,
    /// Rows that somebody else changed at the same moment: they are to be looked at again.
    pub missed: u64,
}

/// What a step reads at most, in bytes of payloads; a single row is always read.
pub(super) const STEP_BYTES: i64 = 512 << 10;

/// What a value that was kept of an answer is searched by; none where it is not a single one.
pub(super) fn searched(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(boolean) => Some(boolean.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

impl PayloadTable {
    /// The table at a place of a walk.
    pub(super) fn at(mark: &PayloadMark) -> Option<&'static Self> {
        PAYLOADS.get(mark.table)
    }

    /// Whether its key has a second column.
    pub(super) fn has_name(&self) -> bool {
        self.key.len() > 1
    }

    /// Reads the next rows: values 1 the id, 2 how many rows, 3 how many bytes, and 4 the name where there is one.
    /// `sign` stands before the number of a value.
    pub(super) fn select(&self, sign: char) -> String {
        let key = self.key.join(", ");
        let columns = self.columns.join(", ");
        let size = self.columns.iter().map(|column| format!("coalesce(octet_length({column}), 0)")).collect::<Vec<_>>();
        let size = size.join(" + ");
        let after = if self.has_name() { format!("({sign}1, {sign}4)") } else { format!("({sign}1)") };
        format!(
            "SELECT {key}, {columns} FROM (
                 SELECT {key}, {columns}, size, sum(size) OVER (ORDER BY {key}) AS upto FROM (
                     SELECT {key}, {columns}, {size} AS size FROM {} WHERE ({key}) > {after} ORDER BY {key} LIMIT {sign}2
                 ) AS found
             ) AS measured WHERE upto - size <= {sign}3 ORDER BY {key}",
            self.name
        )
    }

    /// Writes a row anew, if it still is as it was read: the key, the payloads, and those from before.
    pub(super) fn update(&self, sign: char) -> String {
        let mut number = 0;
        let mut value = |column: &str, how: &str| {
            number += 1;
            format!("{column} {how} {sign}{number}")
        };
        let key = self.key.iter().map(|column| value(column, "=")).collect::<Vec<_>>().join(" AND ");
        let set = self.columns.iter().map(|column| value(column, "=")).collect::<Vec<_>>().join(", ");
        let was = self.columns.iter().map(|column| value(column, "IS NOT DISTINCT FROM")).collect::<Vec<_>>();
        format!("UPDATE {} SET {set} WHERE {key} AND {}", self.name, was.join(" AND "))
    }

    /// Where a walk goes on behind the row that it looked at last, or with the next table.
    pub(super) fn next(mark: &PayloadMark, last: Option<(i64, String)>) -> Option<PayloadMark> {
        match last {
            Some((id, name)) => Some(PayloadMark { table: mark.table, id, name }),
            None => {
                let table = mark.table + 1;
                (table < PAYLOADS.len()).then(|| PayloadMark { table, ..PayloadMark::default() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_through_every_table() {
        let mut mark = PayloadMark::default();
        let mut names = vec![PayloadTable::at(&mark).unwrap().name];
        while let Some(next) = PayloadTable::next(&mark, None) {
            names.push(PayloadTable::at(&next).unwrap().name);
            mark = next;
        }
        assert_eq!(
            names,
            ["notification", "attempt", "delivery", "kept", "refused", "system", "searched", "saved_view"]
        );
        let behind = PayloadTable::next(&mark, Some((7, "x".to_owned()))).unwrap();
        assert_eq!((behind.table, behind.id, behind.name.as_str()), (7, 7, "x"));
    }

    #[test]
    fn an_update_names_its_values_in_order() {
        let sql = PAYLOADS[3].update('?');
        assert_eq!(
            sql,
            "UPDATE kept SET value = ?3, text = ?4, warning = ?5 WHERE delivery = ?1 AND name = ?2 AND \
             value IS NOT DISTINCT FROM ?6 AND text IS NOT DISTINCT FROM ?7 AND warning IS NOT DISTINCT FROM ?8"
        );
    }
}
