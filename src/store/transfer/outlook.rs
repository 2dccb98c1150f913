//! What a move would find and do, told of two stores that were looked at from beside: nothing is written at either side.

use serde::Serialize;

use super::mover::{Counted, another_move, moved};
use super::taking::{self, Marked, Remedies, Taking};
use super::{Begun, Mark, Stage, TABLES};
use crate::clock::Timestamp;
use crate::disk;
use crate::store::{StoreError, StoreResult};

/// A store as it is seen from beside.
#[derive(Debug)]
pub struct Sight {
    /// Its address, as it may be shown.
    pub(in crate::store) shown: String,
    /// What is there of it; none: it is still to be made.
    pub(in crate::store) content: Option<Content>,
    /// What is free of its disk, in bytes, where that can be known.
    pub(in crate::store) free: Option<u64>,
    /// How its kind calls its remedies.
    pub(in crate::store) remedies: &'static Remedies,
}

/// What is in a store.
#[derive(Debug)]
pub(in crate::store) struct Content {
    /// What it takes on the disk, in bytes.
    pub(in crate::store) bytes: u64,
    /// How many rows each of [`TABLES`] has.
    pub(in crate::store) counts: Vec<i64>,
    /// The move that was begun out of it.
    pub(in crate::store) begun: Option<Begun>,
    /// The move that it is marked with.
    pub(in crate::store) marked: Option<Marked>,
}

/// What a move would find and do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = MoveOutlook)]
pub struct Outlook {
    /// Where it would come from.
    pub from: String,
    /// Where it would go.
    pub to: String,
    /// How many rows would be copied of each table.
    pub tables: Vec<Counted>,
    /// Of all tables.
    pub rows: i64,
    /// What the origin takes on its disk.
    pub bytes: u64,
    /// `absent` (it would be made), `empty`, or `begun` (it has a part of this very move).
    pub destination: &'static str,
    /// What is free where the destination is, where that can be known.
    pub free_bytes: Option<u64>,
    /// Where a move that was begun would go on.
    pub resumes: Option<Resume>,
}

/// How far a move came that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = MoveResume)]
pub struct Resume {
    /// When it began.
    pub begun_at: Timestamp,
    /// How many tables are copied.
    pub tables_copied: usize,
    /// The one that is being copied; none when all are.
    pub table: Option<&'static str>,
}

/// What a move from one store into another would find and do.
///
/// # Errors
/// Why it would be refused, in the words of the move itself.
pub fn outlook(from: Sight, to: Sight) -> StoreResult<Outlook> {
    let Some(origin) = from.content else {
        return Err(StoreError::Conflict(format!("{} is not there: there is nothing to move", from.shown)));
    };
    if let Some(begun) = &origin.begun {
        match (begun.stage == Stage::Moved, begun.mark.other == to.shown) {
            (true, _) => return Err(moved(&begun.mark)),
            (false, false) => return Err(another_move(&begun.mark)),
            (false, true) => {}
        }
    }
    let destination = match to.content {
        None => "absent",
        Some(content) => {
            let anew = || Mark { token: 0, other: from.shown.clone(), begun_at: Timestamp(0) };
            let mark = origin.begun.as_ref().map_or_else(anew, |begun| begun.mark.clone());
            let taken = taking::taking(&mark, content.marked, &content.counts, to.remedies);
            match taken.map_err(|reason| StoreError::Conflict(format!("moving into {}: {reason}", to.shown)))? {
                Taking::Anew => "empty",
                Taking::Again => "begun",
            }
        }
    };
    // What is copied already takes its room already.
    if let Some(free) = to.free.filter(|free| *free < origin.bytes && destination != "begun") {
        let (needed, free) = (disk::in_words(origin.bytes), disk::in_words(free));
        let reason = format!("moving into {}: about {needed} would be copied, and {free} are free there", to.shown);
        return Err(StoreError::Conflict(reason));
    }
    let count = |(table, rows): (&super::Table, &i64)| Counted { table: table.name, rows: *rows };
    Ok(Outlook {
        rows: origin.counts.iter().sum(),
        tables: TABLES.iter().zip(&origin.counts).map(count).collect(),
        bytes: origin.bytes,
        destination,
        free_bytes: to.free,
        resumes: origin.begun.map(|begun| Resume {
            begun_at: begun.mark.begun_at,
            tables_copied: begun.table.min(TABLES.len()),
            table: TABLES.get(begun.table).map(|table| table.name),
        }),
        from: from.shown,
        to: to.shown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMEDIES: Remedies = Remedies { another: "a new file", clear: "remove the file" };

    fn sight(shown: &str, content: Option<Content>) -> Sight {
        Sight { shown: shown.to_owned(), content, free: Some(1 << 20), remedies: &REMEDIES }
    }

    fn content(bytes: u64, rows: i64, begun: Option<Begun>, marked: Option<Marked>) -> Option<Content> {
        Some(Content { bytes, counts: vec![rows; TABLES.len()], begun, marked })
    }

    fn begun(other: &str, stage: Stage) -> Option<Begun> {
        let mark = Mark { token: 7, other: other.to_owned(), begun_at: Timestamp(1) };
        Some(Begun { stage, notes: true, table: 2, ..Begun::anew(mark) })
    }

    #[test]
    fn a_move_that_would_go_well_says_what_it_would_copy_and_where_it_would_go_on() {
        let all = i64::try_from(TABLES.len()).unwrap();
        let fresh = outlook(sight("sqlite:a", content(9, 2, None, None)), sight("sqlite:b", None)).unwrap();
        assert_eq!((fresh.rows, fresh.destination, fresh.resumes), (2 * all, "absent", None));
        let empty = sight("sqlite:b", content(9, 0, None, None));
        let empty = outlook(sight("sqlite:a", content(9, 2, None, None)), empty).unwrap();
        assert_eq!(empty.destination, "empty");
        let part = Some(Marked { into: true, token: 7, other: "sqlite:a".to_owned() });
        let ours = sight("sqlite:a", content(9, 2, begun("sqlite:b", Stage::Copying), None));
        let again = outlook(ours, sight("sqlite:b", content(9, 1, None, part))).unwrap();
        let resumes = again.resumes.unwrap();
        assert_eq!((again.destination, resumes.tables_copied), ("begun", 2));
        assert_eq!(resumes.table, Some(TABLES[2].name));
    }

    #[test]
    fn what_the_move_would_refuse_is_refused_before() {
        let origin = |begun| sight("sqlite:a", content(9, 2, begun, None));
        let absent = || sight("sqlite:b", None);
        for (from, to, words) in [
            (absent(), absent(), "nothing to move"),
            (origin(begun("sqlite:c", Stage::Copying)), absent(), "go on with that one"),
            (origin(begun("sqlite:b", Stage::Moved)), absent(), "that one counts"),
            (origin(None), sight("sqlite:b", content(9, 1, None, None)), "it holds a store already"),
            (sight("sqlite:a", content(2 << 20, 1, None, None)), absent(), "1 MiB are free there"),
        ] {
            let refused = outlook(from, to).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
