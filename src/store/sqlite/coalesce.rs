//! Of several waiting updates of one record only the newest goes out: `coalesce = true`.

use std::sync::Arc;

use super::books::{Books, Failure};
use super::lane;
use crate::clock::Timestamp;
use crate::delivery::{Coalesce, State};
use crate::store::coalescing::{self, WAITING_MAX};
use crate::store::names::Way;
use crate::store::turn::Turn;

/// A new delivery that may take the place of others.
#[derive(Debug)]
pub(super) struct Newcomer<'a> {
    /// The number that it has, or will have.
    pub(super) id: i64,
    pub(super) way: &'a Arc<Way>,
    /// Organization and record.
    pub(super) key: &'a str,
    pub(super) coalesce: &'a Coalesce,
    pub(super) now: Timestamp,
}

impl Newcomer<'_> {
    /// Supersedes what waits of the same record on the same way and was not attempted yet. The one that is newer than the
    /// newcomer, if there is such a one: then it is the newcomer that gives way, and nothing was superseded. What others come
    /// after is added to `fallen`.
    pub(super) fn take_place(&self, books: &mut Books, fallen: &mut Vec<i64>) -> Result<Option<i64>, Failure> {
        let sql = "SELECT id, mark FROM delivery INDEXED BY delivery_coalescing
                   WHERE way = ?1 AND coalesce_key = ?2 AND unsettled = 1 AND attempts = 0
                   AND state IN ('waiting', 'blocked') AND id < ?3 ORDER BY id LIMIT ?4";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?));
        let waiting: Vec<(i64, Option<String>)> =
            books.list(sql, (self.way.id, self.key, self.id, WAITING_MAX), read)?;
        if let Some(newer) = coalescing::newer(self.coalesce, &waiting) {
            return Ok(Some(newer));
        }
        for (older, _) in waiting {
            if self.supersede(books, older)? {
                fallen.push(older);
            }
        }
        Ok(None)
    }

    /// Whether others come after it.
    fn supersede(&self, books: &mut Books, older: i64) -> Result<bool, Failure> {
        let place = lane::place_of(books, older)?;
        let reason = coalescing::reason(self.id);
        let turn = Turn { to: State::Superseded, due_at: None, unsettled: false, reason: Some(&reason), at: self.now };
        lane::turn(books, &place, turn)?;
        books.run("UPDATE delivery SET superseded_by = ?2 WHERE id = ?1", [older, self.id])?;
        lane::promote(books, place.way.system, place.lane.as_deref(), self.now)?;
        Ok(place.has_followers)
    }

    /// Notes what the next update of the record must know.
    pub(super) fn note(&self, books: &Books, superseded_by: Option<i64>) -> Result<(), Failure> {
        let sql = "UPDATE delivery SET coalesce_key = ?2, mark = ?3, superseded_by = ?4 WHERE id = ?1";
        books.run(sql, (self.id, self.key, &self.coalesce.mark, superseded_by)).map(|_| ())
    }
}
