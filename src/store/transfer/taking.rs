//! What every store that is moved into decides in the same way.

use std::collections::BTreeSet;

use super::{Mark, Row, Table};

/// The index that lets a lane have one call under way.
pub(in crate::store) const IN_FLIGHT: &str = "delivery_in_flight";

/// The unique indexes that are left out while rows come in any order, by name, each with what it is on. `lane`: the
/// columns by which a store tells lanes apart.
pub(in crate::store) fn guards(lane: &str) -> [(&'static str, String); 3] {
    [
        ("notification_key", "notification (notification_id, organization, revision)".to_owned()),
        ("attempt_delivery", "attempt (delivery, number)".to_owned()),
        (IN_FLIGHT, format!("delivery ({lane}) WHERE state = 'in_flight'")),
    ]
}

/// The move that a store is marked with.
#[derive(Debug)]
pub(in crate::store) struct Marked {
    /// Whether it is moved into, and not itself moved.
    pub(in crate::store) into: bool,
    pub(in crate::store) token: i64,
    pub(in crate::store) other: String,
}

/// How a kind of store calls its remedies.
#[derive(Debug)]
pub(in crate::store) struct Remedies {
    /// Another place that is free: "a new file".
    pub(in crate::store) another: &'static str,
    /// How this one is made free: "remove the file".
    pub(in crate::store) clear: &'static str,
}

/// How a store is taken for a move.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Taking {
    /// It is empty, and to be marked.
    Anew,
    /// It has the mark of this move.
    Again,
}

/// What is left of a move whose origin was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its destination is to be opened.
    Open,
    /// Nothing: its destination is a store like any other.
    Done,
}

/// Whether a store may be taken for a move; else why not, and what to do.
pub(in crate::store) fn taking(
    mark: &Mark,
    stands: Option<Marked>,
    counts: &[i64],
    remedies: &Remedies,
) -> Result<Taking, String> {
    let Remedies { another, clear } = remedies;
    let is_empty = counts.iter().all(|count| *count == 0);
    match stands {
        Some(Marked { into: true, token, .. }) if token == mark.token => Ok(Taking::Again),
        Some(Marked { into: true, other, .. }) => {
            let reason = "of a move that is under way or was given up: look at that store first";
            Err(format!(
                "it holds a part of {other}, {reason}; name {another}, or, once that move is given up, {clear}"
            ))
        }
        Some(Marked { into: false, other, .. }) => {
            Err(format!("it is itself moved, or being moved, to {other}; name {another}, or {clear} first"))
        }
        None if is_empty => Ok(Taking::Anew),
        None => Err(format!("it holds a store already; name {another}")),
    }
}

/// How a store stands to a move whose origin was left; else why that move cannot end in it.
pub(in crate::store) fn ending(mark: &Mark, stands: Option<Marked>, counts: &[i64]) -> Result<Ending, String> {
    match stands {
        Some(Marked { into: true, token, .. }) if token == mark.token => Ok(Ending::Open),
        Some(Marked { other, .. }) => Err(format!("it belongs to another move, with {other}")),
        None if counts.iter().all(|count| *count == 0) => {
            Err("it is empty: what was moved is not there; was the database or the file replaced?".to_owned())
        }
        None => Ok(Ending::Done),
    }
}

/// Which units are to be taken away before these rows are written: what is only changed stays, and is written over.
pub(in crate::store) fn gone(table: &Table, units: &[Row], rows: &[Row]) -> Vec<Row> {
    let single = table.key == table.unit;
    let stay: BTreeSet<Row> = rows.iter().filter(|_| single).map(|row| table.unit_of(row)).collect();
    units.iter().filter(|unit| !stay.contains(*unit)).cloned().collect()
}

/// What becomes of a row whose key is there: its other columns, by name as SQL has them, are written over.
pub(in crate::store) fn on_conflict(table: &Table, others: impl Iterator<Item = String>) -> String {
    if !table.changes {
        return "NOTHING".to_owned();
    }
    let written: Vec<String> = others.map(|name| format!("\"{name}\" = excluded.\"{name}\"")).collect();
    format!("UPDATE SET {}", written.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const REMEDIES: Remedies = Remedies { another: "a new file", clear: "remove the file" };

    #[test]
    fn an_empty_store_is_taken_and_one_of_this_move_again() {
        let mark = Mark { token: 7, other: "sqlite:a.db".to_owned(), begun_at: Timestamp(1) };
        let marked = |into, token| Some(Marked { into, token, other: "sqlite:b.db".to_owned() });
        let taking = |stands, counts: &[i64]| taking(&mark, stands, counts, &REMEDIES);
        assert_eq!(taking(None, &[0, 0]), Ok(Taking::Anew));
        assert_eq!(taking(marked(true, 7), &[0, 9]), Ok(Taking::Again));
        let refused = "it holds a part of sqlite:b.db, of a move that is under way or was given up: look at that store \
                       first; name a new file, or, once that move is given up, remove the file";
        assert_eq!(taking(marked(true, 8), &[0]), Err(refused.to_owned()));
        let refused = "it is itself moved, or being moved, to sqlite:b.db; name a new file, or remove the file first";
        assert_eq!(taking(marked(false, 7), &[0]), Err(refused.to_owned()), "whatever its number");
        assert_eq!(taking(None, &[0, 1]), Err("it holds a store already; name a new file".to_owned()));
    }

    #[test]
    fn a_move_is_ended_in_its_own_destination_alone() {
        let mark = Mark { token: 7, other: "sqlite:a.db".to_owned(), begun_at: Timestamp(1) };
        let marked = |into, token| Some(Marked { into, token, other: "sqlite:b.db".to_owned() });
        assert_eq!(ending(&mark, marked(true, 7), &[0, 9]), Ok(Ending::Open));
        assert_eq!(ending(&mark, None, &[0, 9]), Ok(Ending::Done));
        for (stands, counts) in [(marked(true, 8), [9]), (marked(false, 7), [9]), (None, [0])] {
            assert!(ending(&mark, stands, &counts).is_err());
        }
    }
}
