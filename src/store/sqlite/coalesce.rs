//! Of several waiting updates of one record only the newest goes out: `coalesce = true`.

use std::sync::Arc;

use super::after;
use super::books::{Books, Failure};
use super::lane::{self, Place};
use crate::clock::Timestamp;
use crate::delivery::{Coalesce, State};
use crate::store::coalescing::{self, Update, WAITING_MAX};
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
            if give_way(books, older, self.id, self.now)? {
                fallen.push(older);
            }
        }
        Ok(None)
    }

    /// Notes what the next update of the record must know.
    pub(super) fn note(&self, books: &Books, superseded_by: Option<i64>) -> Result<(), Failure> {
        let sql = "UPDATE delivery SET coalesce_key = ?2, mark = ?3, superseded_by = ?4 WHERE id = ?1";
        books.run(sql, (self.id, self.key, &self.coalesce.mark, superseded_by)).map(|_| ())
    }
}

/// Supersedes an update by another; whether others come after it.
fn give_way(books: &mut Books, older: i64, newer: i64, at: Timestamp) -> Result<bool, Failure> {
    let place = lane::place_of(books, older)?;
    let reason = coalescing::reason(newer);
    let turn = Turn { to: State::Superseded, due_at: None, unsettled: false, reason: Some(&reason), at };
    lane::turn(books, &place, turn)?;
    books.run("UPDATE delivery SET superseded_by = ?2 WHERE id = ?1", [older, newer])?;
    lane::promote(books, &place, at)?;
    Ok(place.has_followers)
}

/// A held one comes back: of it and of what waits of its record, as far as it was not attempted, the newest stays. Whether
/// that is the one that comes back.
pub(super) fn come_back(books: &mut Books, held: &Place, now: Timestamp) -> Result<bool, Failure> {
    let sql = "SELECT other.id, other.notification, other.mark FROM delivery this
               CROSS JOIN delivery other INDEXED BY delivery_coalescing
                   ON other.way = this.way AND other.coalesce_key = this.coalesce_key AND other.unsettled = 1
               WHERE this.id = ?1 AND this.attempts = 0 AND other.attempts = 0
               AND (other.state IN ('waiting', 'blocked') OR other.id = this.id) ORDER BY other.id <> ?1, other.id LIMIT ?2";
    let read = |row: &rusqlite::Row<'_>| Ok(Update { id: row.get(0)?, row: row.get(1)?, mark: row.get(2)? });
    let updates: Vec<Update> = books.list(sql, (held.id, WAITING_MAX), read)?;
    let Some(newest) = coalescing::newest(&updates) else { return Ok(true) };
    let mut fallen = Vec::new();
    for Update { id, .. } in updates.into_iter().filter(|update| update.id != newest) {
        if give_way(books, id, newest, now)? {
            fallen.push(id);
        }
    }
    for lead in fallen {
        after::tell(books, lead, now)?;
    }
    Ok(newest == held.id)
}
