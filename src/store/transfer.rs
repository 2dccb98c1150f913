//! A whole store into another one, of the same kind or another, while gateways go on writing to the first.
//!
//! Rows keep their ids, so both stores have the same rows: only how a table keeps what follows from a row, and how it adds
//! up its counters, is each store's own. What grows is copied in chunks. What changes meanwhile is noted by triggers in a
//! log of the origin, in the transaction that changes it, and is copied again from there. What is written is read back and
//! compared. Only for the last few changes and for the counters is the origin shut; see [`mover`].

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};

use self::taking::Ending;
use crate::clock::Timestamp;
use crate::store::StoreResult;

pub mod mover;
pub mod outlook;
pub mod taking;

/// What a chunk may hold, in bytes of its long texts; a single row is always taken.
pub(in crate::store) const CHUNK_BYTES: i64 = 4 << 20;

/// What a cell holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number; of a truth, 0 or 1.
    Integer(i64),
    /// A text, as it was handed to the store.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Value {
    /// The number.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A row: its cells in the order of its table's columns. A unit: those cells that come first.
pub type Row = Vec<Value>;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Integer,
    /// A truth.
    Boolean,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
    /// A text that follows from others: handed over, and not compared.
    Derived,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// A table as it is handed over.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// How many of its first columns tell its rows apart.
    pub key: usize,
    /// How many of its first columns name what is copied as one when any of it changes.
    pub unit: usize,
    /// Its columns.
    pub columns: &'static [Column],
    /// The columns that may be long.
    pub long: &'static [&'static str],
    /// Whether a row may change.
    pub changes: bool,
}

impl Table {
    /// The columns that tell its rows apart.
    #[must_use]
    pub fn key_columns(&self) -> &'static [Column] {
        self.columns.get(..self.key).unwrap_or_default()
    }

    /// The columns that name a unit.
    #[must_use]
    pub fn unit_columns(&self) -> &'static [Column] {
        self.columns.get(..self.unit).unwrap_or_default()
    }

    /// The unit of a row.
    #[must_use]
    pub fn unit_of(&self, row: &[Value]) -> Row {
        row.get(..self.unit).unwrap_or_default().to_vec()
    }

    /// The cell of a row in a column; nothing where there is no such column.
    #[must_use]
    pub fn cell<'r>(&self, row: &'r [Value], column: &str) -> &'r Value {
        let place = self.columns.iter().position(|known| known.name == column);
        place.and_then(|place| row.get(place)).unwrap_or(&Value::Null)
    }

    /// Whether two rows say the same.
    #[must_use]
    pub fn same(&self, one: &[Value], other: &[Value]) -> bool {
        let compared = |(column, pair): (&Column, (&Value, &Value))| column.kind == Kind::Derived || pair.0 == pair.1;
        one.len() == other.len() && self.columns.iter().zip(one.iter().zip(other)).all(compared)
    }
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: Kind::Integer }
}

const fn truth(name: &'static str) -> Column {
    Column { name, kind: Kind::Boolean }
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

const fn bytes(name: &'static str) -> Column {
    Column { name, kind: Kind::Bytes }
}

/// A table whose rows have an id, their first column.
const fn by_id(name: &'static str, columns: &'static [Column]) -> Table {
    Table { name, key: 1, unit: 1, columns, long: &[], changes: true }
}

/// What grows, in the order in which it is copied.
pub static TABLES: [Table; 16] = [
    by_id("name", &[number("id"), text("kind"), text("text")]),
    by_id("way", &[number("id"), number("route"), number("destination"), number("system")]),
    Table {
        long: &["files"],
        ..by_id("config_version", &[number("id"), bytes("hash"), text("files"), number("created_at")])
    },
    by_id(
        "envelope",
        &[
            number("id"),
            number("source"),
            number("received_at"),
            number("config_version"),
            text("organization_id"),
            text("action_id"),
            text("enterprise_url"),
            text("partner_url"),
            text("sender"),
        ],
    ),
    Table {
        long: &["xml"],
        ..by_id(
            "notification",
            &[
                number("id"),
                number("envelope"),
                number("source"),
                number("organization"),
                text("notification_id"),
                number("revision"),
                text("kind"),
                number("duplicates"),
                bytes("hash"),
                text("reason"),
                text("record_type"),
                text("record_id"),
                text("xml"),
                number("edited_from"),
            ],
        )
    },
    by_id("delivery", &DELIVERY),
    Table { key: 2, ..by_id("newest_delivery", &[number("notification"), number("route"), number("delivery")]) },
    Table { long: &["request", "response"], ..by_id("attempt", &ATTEMPT) },
    Table {
        key: 2,
        ..by_id("kept", &[number("delivery"), text("name"), text("value"), text("text"), text("warning")])
    },
    Table {
        key: 3,
        unit: 3,
        ..by_id(
            "stale_mark",
            &[number("route"), number("organization"), text("record_id"), text("value"), text("field")],
        )
    },
    Table {
        long: &["body"],
        ..by_id(
            "refused",
            &[
                number("id"),
                number("at"),
                text("source"),
                text("sender"),
                text("reason"),
                number("dropped_at"),
                text("body"),
            ],
        )
    },
    by_id("config_taken", &[number("id"), number("version"), number("at"), text("brought_by"), text("reason")]),
    Table {
        changes: false,
        ..by_id(
            "audit",
            &[
                number("id"),
                number("at"),
                text("who"),
                text("verb"),
                text("object"),
                text("object_id"),
                number("count"),
                text("reason"),
                text("result"),
                text("was"),
                text("became"),
                text("hash"),
            ],
        )
    },
    by_id(
        "absence",
        &[
            number("id"),
            number("since"),
            number("until"),
            number("acknowledged_at"),
            text("acknowledged_by"),
            truth("restored"),
        ],
    ),
    Table { key: 2, ..by_id("searched", &[number("notification"), text("name"), text("value")]) },
    Table { key: 2, ..by_id("sample", &[number("at"), text("gateway"), text("figures")]) },
];

static DELIVERY: [Column; 30] = [
    number("id"),
    number("notification"),
    number("way"),
    number("system"),
    text("lane"),
    text("state"),
    truth("unsettled"),
    number("due_at"),
    number("lease"),
    number("attempts"),
    number("excused"),
    number("first_attempt_active_ms"),
    number("created_at"),
    number("changed_at"),
    number("status"),
    number("same_bytes_as"),
    number("repeat_count"),
    text("repeat_key"),
    text("reason"),
    text("mark"),
    number("superseded_by"),
    truth("even_if_newer"),
    number("comes_after"),
    truth("has_followers"),
    truth("holds"),
    number("replay_of"),
    number("as_it_was"),
    number("outdated_by"),
    number("not_before"),
    // The organization's number, a space, and the record's id: by what those that coalesce find each other.
    Column { name: "coalesces", kind: Kind::Derived },
];

static ATTEMPT: [Column; 17] = [
    number("lease"),
    number("delivery"),
    number("number"),
    number("config_version"),
    number("started_at"),
    number("ended_at"),
    text("outcome"),
    number("duration_ms"),
    number("status"),
    truth("request_cut"),
    truth("response_cut"),
    text("reason"),
    text("fault"),
    text("request_line"),
    text("request"),
    text("response"),
    bytes("call_hash"),
];

/// What is added up and small: handed over as a whole, when nothing changes any more.
pub static SUMS: [Table; 11] = [
    by_id(
        "system",
        &[
            number("name"),
            number("active_ms"),
            text("paused_reason"),
            number("paused_since"),
            number("paused_until"),
            number("probe_at"),
            text("broken_reason"),
            number("broken_since"),
            number("broken_probe_at"),
            number("broken_trips"),
        ],
    ),
    Table { key: 3, ..by_id("counter", &[text("kind"), number("owner"), text("account"), number("value")]) },
    Table {
        key: 4,
        ..by_id("account_day", &[number("day"), text("kind"), number("owner"), text("account"), number("value")])
    },
    Table {
        key: 2,
        ..by_id(
            "source_heard",
            &[number("source"), number("day"), number("last_at"), number("silence_ms"), number("silence_until")],
        )
    },
    by_id("alive", &[number("id"), number("at"), number("copied_at")]),
    by_id("prune_walk", &[text("walk"), number("at"), number("id"), number("begun_at")]),
    by_id(
        "audit_chain",
        &[number("id"), number("anchor_entry"), text("anchor_hash"), number("head_entry"), text("head_hash")],
    ),
    by_id(
        "token",
        &[
            text("id"),
            text("name"),
            text("hash"),
            text("role"),
            text("rights"),
            text("scope"),
            number("created_at"),
            text("created_by"),
            number("expires_at"),
            number("used_at"),
            number("revoked_at"),
            text("revoked_by"),
        ],
    ),
    by_id("sealing_key", &[text("id"), text("proof"), number("since")]),
    by_id(
        "saved_view",
        &[number("id"), text("list"), text("name"), text("query"), text("saved_by"), number("saved_at")],
    ),
    // The last number given of each kind. It may stand higher in the other store.
    by_id(SEQUENCE, &[text("kind"), number("value")]),
];

/// The name of the last of [`SUMS`].
pub(in crate::store) const SEQUENCE: &str = "sequence";

/// The table of a name.
#[must_use]
pub fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

/// What stands in both stores of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// A number that no other move has.
    pub token: i64,
    /// The other store, as it may be shown.
    pub other: String,
    /// When it began.
    pub begun_at: Timestamp,
}

/// How far a move has come in its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Rows are copied, changes noted.
    Copying,
    /// Nothing is written any more: the last changes are copied, all is checked.
    Shut,
    /// The other store is the one that counts.
    Moved,
}

impl Stage {
    pub(in crate::store) fn of(word: &str) -> Self {
        match word {
            "moved" => Self::Moved,
            "shut" => Self::Shut,
            _ => Self::Copying,
        }
    }
}

/// A move as its origin knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its mark.
    pub mark: Mark,
    /// How far it is.
    pub stage: Stage,
    /// Whether changes are noted: before they are, nothing is copied.
    pub notes: bool,
    /// Which table is being copied, as its place among [`TABLES`]: those before it are copied.
    pub table: usize,
    /// The last row of it that was copied, by its key.
    pub after: Option<Row>,
}

impl Begun {
    /// Instead of the place of a table: changes are not noted yet.
    pub(in crate::store) const NOT_NOTING: i64 = -1;

    /// A move that is not noted yet in its origin, or only just.
    #[must_use]
    pub fn anew(mark: Mark) -> Self {
        Self { mark, stage: Stage::Copying, notes: false, table: 0, after: None }
    }

    /// A move as it is kept: its mark, its stage, the place of a table, the key of a row.
    pub(in crate::store) fn kept(mark: Mark, stage: &str, tables: i64, after: Option<&str>) -> Self {
        Self {
            mark,
            stage: Stage::of(stage),
            notes: tables != Self::NOT_NOTING,
            table: usize::try_from(tables.max(0)).unwrap_or(usize::MAX),
            after: after.map(Self::key_of),
        }
    }

    /// A key as an origin keeps it.
    pub(in crate::store) fn key_as_kept(key: &[Value]) -> String {
        let cell = |cell: &Value| match cell {
            Value::Integer(number) => json!(number),
            Value::Text(text) => json!(text),
            Value::Null | Value::Bytes(_) => Json::Null,
        };
        Json::Array(key.iter().map(cell).collect()).to_string()
    }

    /// The key that was kept so.
    pub(in crate::store) fn key_of(kept: &str) -> Row {
        let cells: Vec<Json> = serde_json::from_str(kept).unwrap_or_default();
        let cell = |cell: &Json| match cell.as_str() {
            Some(text) => Value::Text(text.to_owned()),
            None => cell.as_i64().map_or(Value::Null, Value::Integer),
        };
        cells.iter().map(cell).collect()
    }
}

/// Some rows, and how many of the units that were asked for they are all of.
#[derive(Debug, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// How many units.
    pub units: usize,
}

/// Some rows in the order of their key, and whether there are more behind them.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether it ended before the table did.
    pub more: bool,
}

/// Something that changed in the origin.
#[derive(Clone, Debug)]
pub struct Noted {
    /// Its number in the log.
    pub number: i64,
    /// Where.
    pub table: &'static Table,
    /// What.
    pub unit: Row,
}

/// A store of a move.
pub trait Side: Send + Sync {
    /// The store, as it may be shown.
    fn shown(&self) -> String;
    /// All rows of some units, at one moment; of fewer of them when the rows are large, and of one at least.
    fn rows<'a>(&'a self, table: &'static Table, units: &'a [Row]) -> BoxFuture<'a, StoreResult<Page>>;
    /// What is added up: a table of [`SUMS`] after the other, rows in order, without those that are zero.
    fn sums(&self) -> BoxFuture<'_, StoreResult<Vec<Vec<Row>>>>;
    /// How many rows each of [`TABLES`] has, at one moment.
    fn counts(&self) -> BoxFuture<'_, StoreResult<Vec<i64>>>;
}

/// The store that is moved.
pub trait Origin: Side {
    /// When a gateway on this store was last known to listen.
    fn heard(&self) -> BoxFuture<'_, StoreResult<Option<Timestamp>>>;
    /// The move that was begun and is not given up, if any.
    fn begun(&self) -> BoxFuture<'_, StoreResult<Option<Begun>>>;
    /// Marks the store: a move is begun. Changes are not noted yet.
    fn begin(&self, mark: Mark) -> BoxFuture<'_, StoreResult<()>>;
    /// Notes every change from here on.
    fn note(&self) -> BoxFuture<'_, StoreResult<()>>;
    /// The next rows behind one, by their key, at one moment.
    fn chunk(&self, table: &'static Table, after: Option<Row>, limit: usize) -> BoxFuture<'_, StoreResult<Chunk>>;
    /// Keeps how far copying came: which of [`TABLES`], and the last row of it.
    fn reached(&self, table: usize, after: Option<Row>) -> BoxFuture<'_, StoreResult<()>>;
    /// The changes that were noted first, and how many there are, counted no further than a hundred thousand.
    fn noted(&self, limit: usize) -> BoxFuture<'_, StoreResult<(Vec<Noted>, u64)>>;
    /// The number of the change that was noted last; 0 when none is left.
    fn last_noted(&self) -> BoxFuture<'_, StoreResult<i64>>;
    /// Those changes are copied.
    fn forget(&self, numbers: Vec<i64>) -> BoxFuture<'_, StoreResult<()>>;
    /// Nothing is written any more, by anyone.
    fn shut(&self) -> BoxFuture<'_, StoreResult<()>>;
    /// It is written again.
    fn open(&self) -> BoxFuture<'_, StoreResult<()>>;
    /// The other store counts from here on: who opens this one is told so. While it is shut.
    fn leave(&self, at: Timestamp) -> BoxFuture<'_, StoreResult<()>>;
    /// No move any more.
    fn give_up(&self) -> BoxFuture<'_, StoreResult<()>>;
}

/// The store that is moved into.
pub trait Destination: Side {
    /// Takes the store for this move: it must be empty, or one that this move was begun with. Whoever opens it as a
    /// gateway before it is complete is told so.
    fn begin(&self, mark: Mark) -> BoxFuture<'_, StoreResult<()>>;
    /// What is left of a move whose origin was left, where this is its destination.
    fn ending(&self, mark: Mark) -> BoxFuture<'_, StoreResult<Ending>>;
    /// Writes rows. `whole`: these units are these rows and no others.
    fn put<'a>(
        &'a self,
        table: &'static Table,
        units: &'a [Row],
        rows: &'a [Row],
        whole: bool,
    ) -> BoxFuture<'a, StoreResult<()>>;
    /// Writes what is added up, in place of what stands there.
    fn put_sums(&self, sums: Vec<Vec<Row>>) -> BoxFuture<'_, StoreResult<()>>;
    /// Has it refuse again what must not be there twice: left out while rows come in any order. `in_flight` too, or all but
    /// that.
    fn guard(&self, in_flight: bool) -> BoxFuture<'_, StoreResult<()>>;
    /// A store like any other from here on.
    fn complete(&self) -> BoxFuture<'_, StoreResult<()>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_cells_are_not_compared_and_all_others_are() {
        let delivery = table("delivery").unwrap();
        let row: Row = delivery.columns.iter().map(|_| Value::Null).collect();
        let mut other = row.clone();
        *other.last_mut().unwrap() = Value::Text("1 r".to_owned());
        assert!(delivery.same(&row, &other));
        for place in 0..row.len() - 1 {
            let mut other = row.clone();
            other[place] = Value::Integer(1);
            assert!(!delivery.same(&row, &other), "{}", delivery.columns[place].name);
        }
        assert!(!delivery.same(&row, &row[1..]));
    }

    #[test]
    fn a_key_comes_back_as_it_was_kept() {
        for key in [vec![Value::Integer(7)], vec![Value::Integer(1), Value::Integer(-2), Value::Text("a\"ä".into())]] {
            assert_eq!(Begun::key_of(&Begun::key_as_kept(&key)), key);
        }
    }

    #[test]
    fn a_unit_is_never_wider_than_a_key() {
        for table in TABLES.iter().chain(&SUMS) {
            assert!(table.unit >= 1 && table.unit <= table.key && table.key <= table.columns.len(), "{}", table.name);
            assert!(table.long.iter().all(|long| table.columns.iter().any(|column| column.name == *long)));
        }
    }
}
