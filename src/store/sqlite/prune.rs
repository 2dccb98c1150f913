//! Pruning, in steps so small that nobody waits for them.
//!
//! Settled deliveries are walked in the order in which they were settled, by an index that holds them by state and time;
//! how far each walk came is kept, so that a step reads only what it takes away. What must stay for a reason is passed by
//! and looked at again a day later. A notification goes with its last delivery, all its revisions at once, because its
//! rows are what a repeat is recognised by.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::books::{Books, Failure};
use super::lane::{self, Place};
use super::searched;
use crate::clock::{SharedClock, Timestamp};
use crate::delivery::State;
use crate::store::accounts::{self, Account};
use crate::store::foretold::{Dialect, Questions, Reach};
use crate::store::pruning::{
    self, AUDIT_MIN_MS, EARLIER_MAX, ENTRIES_AT_ONCE, Level, Mark, REVISIONS_MAX, Revision, SUCCESSORS_MAX, Walk,
    cutoff,
};
use crate::store::{Prunable, Prune, Pruned, Retention};

/// Attempts of one delivery that are handled at once.
const ATTEMPTS_AT_ONCE: i64 = 50;
/// Notifications that are read at once.
const NOTIFICATIONS_AT_ONCE: i64 = 20;
/// Free pages that stay in the file at least, and one in so many of all its pages: they are used again soon.
const FREE_PAGES_KEPT: i64 = 256;
const FREE_SHARE_KEPT: i64 = 20;
/// Pages given back between two looks at the clock.
const PAGES_AT_ONCE: i64 = 16;

/// One step under way.
struct Step<'s, 'c> {
    books: &'s mut Books<'c>,
    prune: &'s Prune,
    clock: &'s SharedClock,
    started: Duration,
    left: usize,
    pruned: Pruned,
}

/// Executes the command.
pub(super) fn step(books: &mut Books, prune: &Prune, clock: &SharedClock) -> Result<Pruned, Failure> {
    let started = clock.monotonic();
    let mut step = Step { books, prune, clock, started, left: prune.limit.max(1), pruned: Pruned::default() };
    step.pruned.done = step.run()?;
    Ok(step.pruned)
}

impl Step<'_, '_> {
    /// Whether everything was done that is to do now.
    fn run(&mut self) -> Result<bool, Failure> {
        for (state, level, age) in pruning::levels(&self.prune.retention) {
            if !self.walk_deliveries(state, level, age)? {
                return Ok(false);
            }
        }
        let done = self.odd_notifications()? && self.other_notifications()? && self.entries()?;
        Ok(self.give_back(done)? && done)
    }

    fn has_room(&self) -> bool {
        // Something is always done: a slow disk must not keep every step from coming anywhere.
        let untouched = self.left == self.prune.limit.max(1);
        let in_time = || self.clock.monotonic().saturating_sub(self.started) < self.prune.budget;
        self.left > 0 && (untouched || in_time())
    }

    fn spend(&mut self, things: u64) {
        self.left = self.left.saturating_sub(usize::try_from(things).unwrap_or(usize::MAX));
    }

    fn cutoff(&self, age: Duration) -> i64 {
        cutoff(self.prune.now, age)
    }

    /// Walks the settled deliveries of a state that are old enough; whether it came to the end.
    fn walk_deliveries(&mut self, state: State, level: Level, age: Duration) -> Result<bool, Failure> {
        let walk = Walk::of_deliveries(state, level);
        let before = self.begin(&walk)?;
        let mut mark = before;
        let cutoff = self.cutoff(age);
        let mut ended = false;
        while !ended && self.has_room() {
            let found = next_settled(self.books, state, mark, cutoff, self.left)?;
            ended = found.is_empty();
            for (at, id) in found {
                if !self.has_room() || !self.act(level, id)? {
                    self.keep(&walk, before, mark)?;
                    return Ok(false);
                }
                self.spend(1);
                mark = Mark { at, id, ..mark };
            }
        }
        self.keep(&walk, before, mark)?;
        Ok(ended)
    }

    /// Does what a level asks for; whether it is finished with the delivery.
    fn act(&mut self, level: Level, id: i64) -> Result<bool, Failure> {
        let Some(place) = lane::place(self.books, id)? else { return Ok(true) };
        match level {
            Level::Payloads => self.take_payloads(&place),
            Level::Attempts => self.take_attempts(&place),
            Level::Rows => self.take_row(&place),
        }
    }

    fn take_payloads(&mut self, place: &Place) -> Result<bool, Failure> {
        let sql = "UPDATE attempt SET request = '', response = '', fault = NULL, request_cut = 1, response_cut = 1
                   WHERE lease IN (SELECT lease FROM attempt WHERE delivery = ?1 AND
                   (octet_length(request) > 0 OR octet_length(response) > 0 OR fault IS NOT NULL) LIMIT ?2)";
        loop {
            let taken = self.books.run(sql, (place.id, ATTEMPTS_AT_ONCE))?;
            self.pruned.payloads += as_count(taken);
            self.spend(as_count(taken));
            if i64::try_from(taken).unwrap_or(i64::MAX) < ATTEMPTS_AT_ONCE {
                break;
            }
            if !self.has_room() {
                return Ok(false);
            }
        }
        let sql = "SELECT other.id FROM delivery d CROSS JOIN notification n ON n.id = d.notification
                   CROSS JOIN notification other ON other.notification_id = n.notification_id
                   AND other.organization = n.organization
                   WHERE d.id = ?1 AND octet_length(other.xml) > 0 LIMIT ?2";
        let rows: Vec<i64> = self.books.list(sql, (place.id, REVISIONS_MAX), |row| row.get(0))?;
        for row in rows {
            if !self.is_needed(row)? {
                self.books.run("UPDATE notification SET xml = '' WHERE id = ?1", [row])?;
                searched::forget(self.books, row)?;
                self.pruned.payloads += 1;
                self.spend(1);
            }
        }
        Ok(true)
    }

    /// Whether the record of a notification's row may still be sent, or is to be kept longer.
    fn is_needed(&self, row: i64) -> Result<bool, Failure> {
        let sql = "SELECT state, unsettled, changed_at FROM delivery WHERE notification = ?1";
        let deliveries = self.books.list(sql, [row], |found| {
            Ok((found.get::<_, String>(0)?, found.get::<_, bool>(1)?, found.get::<_, i64>(2)?))
        })?;
        let retention = &self.prune.retention;
        if deliveries.is_empty() {
            let sql =
                "SELECT e.received_at FROM notification n CROSS JOIN envelope e ON e.id = n.envelope WHERE n.id = ?1";
            let received: Option<i64> = self.books.find(sql, [row], |found| found.get(0))?;
            return Ok(!is_due(received, self.prune.now, pruning::unused(retention)));
        }
        Ok(deliveries.into_iter().any(|(state, unsettled, changed_at)| {
            let kept = pruning::settled(retention).into_iter().find(|(known, _)| known.as_str() == state);
            let age = kept.and_then(|(_, kept)| kept.payloads);
            unsettled || !is_due(Some(changed_at), self.prune.now, age)
        }))
    }

    /// Takes the attempts away; whether all are gone.
    fn take_attempts(&mut self, place: &Place) -> Result<bool, Failure> {
        loop {
            let sql = "SELECT count(*), coalesce(sum(outcome IS 'unknown'), 0), coalesce(max(number), 0) FROM
                       (SELECT number, outcome FROM attempt WHERE delivery = ?1 ORDER BY number LIMIT ?2)";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, i64>(2)?));
            let Some((count, unknown, last)) = self.books.find(sql, (place.id, ATTEMPTS_AT_ONCE), read)? else {
                return Ok(true);
            };
            if count == 0 {
                return Ok(true);
            }
            self.books.run("DELETE FROM attempt WHERE delivery = ?1 AND number <= ?2", (place.id, last))?;
            self.books.accounts.post(accounts::pruned_attempts(place.way.destination, count, unknown));
            let count = u64::try_from(count).unwrap_or(0);
            self.pruned.attempts += count;
            self.spend(count);
            if !self.has_room() {
                return Ok(false);
            }
        }
    }

    /// Takes a delivery away, and its notification if it was the last one.
    fn take_row(&mut self, place: &Place) -> Result<bool, Failure> {
        if place.state == State::Superseded && self.stands_with_a_letter(place.id)? {
            return Ok(true);
        }
        if place.has_followers && self.is_followed(place.id)? {
            return Ok(true);
        }
        if place.state == State::Delivered && !self.outdate(place)? {
            return Ok(true);
        }
        if !self.take_attempts(place)? {
            // The last of them may just have gone; the next step finds none.
            return Ok(false);
        }
        self.books.run("DELETE FROM kept WHERE delivery = ?1", [place.id])?;
        let sql = "DELETE FROM delivery WHERE id = ?1 RETURNING notification";
        let notification: Option<i64> = self.books.find(sql, [place.id], |row| row.get(0))?;
        self.books.accounts.post(accounts::pruned_delivery(place.way.destination, place.state));
        self.pruned.deliveries += 1;
        match notification {
            Some(row) => self.take_notification(row),
            None => Ok(true),
        }
    }

    /// Whether the last of those that took a delivery's place is a dead letter, or may become one: then both are shown
    /// together.
    fn stands_with_a_letter(&self, id: i64) -> Result<bool, Failure> {
        let sql = "WITH RECURSIVE after (id, place) AS (
                       SELECT superseded_by, 1 FROM delivery WHERE id = ?1 AND superseded_by IS NOT NULL
                       UNION ALL SELECT d.superseded_by, after.place + 1 FROM after CROSS JOIN delivery d ON d.id = after.id
                       WHERE d.superseded_by IS NOT NULL AND after.place < ?2
                   ) SELECT d.state IN ('delivered', 'superseded', 'discarded') FROM after
                   CROSS JOIN delivery d ON d.id = after.id ORDER BY after.place DESC LIMIT 1";
        let is_over: Option<bool> = self.books.find(sql, (id, SUCCESSORS_MAX), |row| row.get(0))?;
        Ok(is_over == Some(false))
    }

    /// Whether another needs its answer that comes after it: it may yet be sent.
    fn is_followed(&self, id: i64) -> Result<bool, Failure> {
        let sql = "SELECT 1 FROM delivery INDEXED BY delivery_followers WHERE comes_after = ?1
                   AND state NOT IN ('delivered', 'superseded', 'discarded') LIMIT 1";
        Ok(self.books.find(sql, [id], |row| row.get::<_, i64>(0))?.is_some())
    }

    /// Tells earlier deliveries of the record on this route, which wait or are dead, that a later state was delivered:
    /// whoever replays one must still be warned. False when there are too many to look through; then it is kept.
    fn outdate(&mut self, place: &Place) -> Result<bool, Failure> {
        let sql = "SELECT n.record_id, n.organization, n.id FROM delivery d CROSS JOIN notification n
                   ON n.id = d.notification WHERE d.id = ?1 AND n.record_id <> ''";
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let Some((record, organization, row)) = self.books.find(sql, [place.id], read)? else { return Ok(true) };
        let sql = "SELECT count(*) FROM (SELECT 1 FROM notification INDEXED BY notification_record
                   WHERE record_id = ?1 AND record_id <> '' AND id < ?2 LIMIT ?3)";
        let earlier: Option<i64> = self.books.find(sql, (&record, row, EARLIER_MAX), |found| found.get(0))?;
        if earlier.is_none_or(|earlier| earlier >= EARLIER_MAX) {
            return Ok(false);
        }
        let sql = "UPDATE delivery SET outdated_by = ?1 WHERE id IN (
                       SELECT older.id FROM notification n INDEXED BY notification_record
                       CROSS JOIN delivery older ON older.notification = n.id CROSS JOIN way ON way.id = older.way
                       WHERE n.record_id = ?2 AND n.record_id <> '' AND n.organization = ?3 AND n.id <= ?4
                       AND older.id < ?1 AND way.route = ?5
                       AND older.state NOT IN ('delivered', 'superseded', 'discarded'))";
        self.books.run(sql, (place.id, record, organization, row, place.way.route))?;
        Ok(true)
    }

    /// Takes a notification away, all its revisions, when it may go. Always finished with it: what must stay is looked at
    /// again by its own walk.
    fn take_notification(&mut self, row: i64) -> Result<bool, Failure> {
        let family = family(self.books, row)?;
        let Some(first) = family.last() else { return Ok(true) };
        if !pruning::may_go(&family, &self.prune.retention, self.prune.now) {
            return Ok(true);
        }
        let newest: Option<i64> = self.books.find("SELECT max(id) FROM notification", [], |found| found.get(0))?;
        if family.iter().any(|revision| Some(revision.row) == newest) {
            // Its number would be given once more.
            return Ok(true);
        }
        self.books.run("DELETE FROM newest_delivery WHERE notification = ?1", [first.row])?;
        for revision in &family {
            self.take_revision(revision)?;
        }
        self.spend(as_count(family.len()));
        Ok(true)
    }

    fn take_revision(&mut self, revision: &Revision) -> Result<(), Failure> {
        self.books.run("DELETE FROM notification WHERE id = ?1", [revision.row])?;
        searched::forget(self.books, revision.row)?;
        self.pruned.notifications += 1;
        if revision.is_edited {
            // It has the envelope of the content that was edited, and went in by itself.
            return Ok(());
        }
        let Revision { source, kind, duplicates, .. } = revision;
        self.books.accounts.post(accounts::pruned_revision(*source, kind, *duplicates));
        // The notifications of an envelope have numbers in a row.
        let sql = "DELETE FROM envelope WHERE id = ?1
                   AND ?1 IS NOT (SELECT envelope FROM notification WHERE id < ?2 ORDER BY id DESC LIMIT 1)
                   AND ?1 IS NOT (SELECT envelope FROM notification WHERE id > ?2 ORDER BY id LIMIT 1)";
        self.pruned.envelopes += as_count(self.books.run(sql, (revision.envelope, revision.row))?);
        Ok(())
    }

    /// Those that never had a delivery.
    fn odd_notifications(&mut self) -> Result<bool, Failure> {
        for ((kind, age), sql) in pruning::odd(&self.prune.retention).into_iter().zip(ODD) {
            let Some(age) = age else { continue };
            if !self.walk_notifications(&Walk::of_odd(kind), sql, age)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Those whose last delivery went before they could go, and those without a record.
    fn other_notifications(&mut self) -> Result<bool, Failure> {
        for (walk, age) in Walk::of_others(&self.prune.retention) {
            if !self.walk_notifications(&walk, EVERY_NOTIFICATION, age)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn walk_notifications(&mut self, walk: &Walk, sql: &'static str, age: Duration) -> Result<bool, Failure> {
        let before = self.begin(walk)?;
        let mut mark = before;
        let cutoff = self.cutoff(age);
        while self.has_room() {
            // Most of what is read may be too young.
            let limit = i64::try_from(self.left).unwrap_or(i64::MAX).min(NOTIFICATIONS_AT_ONCE);
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            let found = self.books.list(sql, (mark.id, limit), read)?;
            let ended = found.is_empty();
            for (id, received_at) in found {
                if received_at > cutoff {
                    self.keep(walk, before, mark)?;
                    return Ok(true);
                }
                if !self.has_room() {
                    break;
                }
                self.take_notification(id)?;
                self.spend(1);
                mark = Mark { id, ..mark };
            }
            if ended {
                self.keep(walk, before, mark)?;
                return Ok(true);
            }
        }
        self.keep(walk, before, mark)?;
        Ok(false)
    }

    /// Entries of the audit log.
    fn entries(&mut self) -> Result<bool, Failure> {
        let Some(age) = self.prune.retention.audit else { return Ok(true) };
        if !self.has_room() {
            return Ok(false);
        }
        let newest: Option<i64> =
            self.books.find("SELECT at FROM audit ORDER BY id DESC LIMIT 1", [], |row| row.get(0))?;
        let Some(newest) = newest else { return Ok(true) };
        let cutoff = self.cutoff(age).min(newest.saturating_sub(AUDIT_MIN_MS));
        let limit = self.left.min(ENTRIES_AT_ONCE);
        // Only from the front, so that what is left is one chain, which goes on from the last that went.
        let first: Vec<(i64, i64, Option<String>)> = self.books.list(
            "SELECT id, at, hash FROM audit ORDER BY id LIMIT ?1",
            [i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let Some((last, _, hash)) = first.into_iter().take_while(|(_, at, _)| *at < cutoff).last() else {
            return Ok(true);
        };
        let taken = self.books.run("DELETE FROM audit WHERE id <= ?1", [last])?;
        if let Some(hash) = hash {
            let sql = "UPDATE audit_chain SET anchor_entry = ?1, anchor_hash = ?2 WHERE id = 1";
            self.books.run(sql, (last, hash))?;
        }
        self.books.accounts.add(Account::pruned_entries(), i64::try_from(taken).unwrap_or(0));
        self.pruned.audit += as_count(taken);
        self.spend(as_count(taken));
        Ok(taken < limit)
    }

    /// Gives free pages at the end of the file back; whether enough were. Only when nothing else is to do: what is pruned
    /// next would free more.
    fn give_back(&mut self, may_work: bool) -> Result<bool, Failure> {
        let space = Space::of(self.books.connection)?;
        self.pruned.can_shrink = space.can_shrink;
        let mut free = space.free;
        let kept = FREE_PAGES_KEPT.max(space.pages / FREE_SHARE_KEPT);
        while may_work && space.can_shrink && free > kept && self.has_room() {
            // One row for each page.
            let _: Vec<()> = self.books.list(GIVE_BACK, [], |_| Ok(()))?;
            let now_free = Space::of(self.books.connection)?.free;
            if now_free >= free {
                break;
            }
            self.pruned.bytes_returned += bytes(free - now_free, space.page_bytes);
            self.spend(as_count(usize::try_from(PAGES_AT_ONCE).unwrap_or(0)));
            free = now_free;
        }
        self.pruned.bytes_free = bytes(free, space.page_bytes);
        Ok(!space.can_shrink || free <= kept)
    }

    /// Where a walk goes on.
    fn begin(&self, walk: &Walk) -> Result<Mark, Failure> {
        Ok(walk.resumed(mark(self.books.connection, walk)?, self.prune.now))
    }

    /// Keeps how far it came, unless it came nowhere.
    fn keep(&self, walk: &Walk, before: Mark, mark: Mark) -> Result<(), Failure> {
        if before == mark {
            return Ok(());
        }
        let sql = "INSERT INTO prune_walk (walk, at, id, begun_at) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE SET at = excluded.at, id = excluded.id, begun_at = excluded.begun_at";
        self.books.run(sql, (&walk.name, mark.at, mark.id, mark.begun_at)).map(|_| ())
    }
}

/// All revisions of a notification, the first one last, as far as they are looked at; none when it is gone.
fn family(books: &Books, row: i64) -> Result<Vec<Revision>, Failure> {
    let sql = "SELECT n.id, n.revision, n.envelope, n.source, n.kind, n.duplicates, e.received_at,
               n.edited_from IS NOT NULL, EXISTS (SELECT 1 FROM delivery d WHERE d.notification = n.id)
               FROM notification this CROSS JOIN notification n ON n.notification_id = this.notification_id
               AND n.organization = this.organization LEFT JOIN envelope e ON e.id = n.envelope
               WHERE this.id = ?1 ORDER BY n.revision DESC LIMIT ?2";
    books.list(sql, (row, REVISIONS_MAX), |found| {
        Ok(Revision {
            row: found.get(0)?,
            revision: found.get(1)?,
            envelope: found.get(2)?,
            source: found.get(3)?,
            kind: found.get(4)?,
            duplicates: found.get(5)?,
            received_at: found.get(6)?,
            is_edited: found.get(7)?,
            is_used: found.get(8)?,
        })
    })
}

/// In the order of [`pruning::odd`]. Kinds are written out, so that the index of the odd ones is used.
const ODD: [&str; 3] = [ODD_UNROUTED, ODD_UNREADABLE, ODD_QUARANTINED];
const ODD_UNROUTED: &str = "SELECT n.id, e.received_at FROM notification n INDEXED BY notification_odd
    CROSS JOIN envelope e ON e.id = n.envelope WHERE n.kind = 'unrouted' AND n.id > ?1 ORDER BY n.id LIMIT ?2";
const ODD_UNREADABLE: &str = "SELECT n.id, e.received_at FROM notification n INDEXED BY notification_odd
    CROSS JOIN envelope e ON e.id = n.envelope WHERE n.kind = 'unreadable' AND n.id > ?1 ORDER BY n.id LIMIT ?2";
const ODD_QUARANTINED: &str = "SELECT n.id, e.received_at FROM notification n INDEXED BY notification_odd
    CROSS JOIN envelope e ON e.id = n.envelope WHERE n.kind = 'quarantined' AND n.id > ?1 ORDER BY n.id LIMIT ?2";
/// Less the newest, which must stay: see [`Step::take_notification`].
const EVERY_NOTIFICATION: &str = "SELECT n.id, e.received_at FROM notification n
    CROSS JOIN envelope e ON e.id = n.envelope
    WHERE n.id > ?1 AND n.id < (SELECT max(id) FROM notification) ORDER BY n.id LIMIT ?2";
const GIVE_BACK: &str = "PRAGMA incremental_vacuum(16)";

/// The next settled deliveries of a state behind a mark that were settled by the cutoff: when, and their ids.
fn next_settled(
    books: &Books,
    state: State,
    mark: Mark,
    cutoff: i64,
    limit: usize,
) -> Result<Vec<(i64, i64)>, Failure> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // Two questions, since one for both would read everything of that moment again.
    let sql = "SELECT changed_at, id FROM delivery INDEXED BY delivery_settled
               WHERE unsettled = 0 AND state = ?1 AND changed_at = ?2 AND id > ?3 AND changed_at <= ?4 ORDER BY id LIMIT ?5";
    let found = books.list(sql, (state.as_str(), mark.at, mark.id, cutoff, limit), read)?;
    if !found.is_empty() {
        return Ok(found);
    }
    let sql = "SELECT changed_at, id FROM delivery INDEXED BY delivery_settled
               WHERE unsettled = 0 AND state = ?1 AND changed_at > ?2 AND changed_at <= ?3
               ORDER BY changed_at, id LIMIT ?4";
    books.list(sql, (state.as_str(), mark.at, cutoff, limit), read)
}

fn mark(connection: &Connection, walk: &Walk) -> rusqlite::Result<Option<Mark>> {
    let sql = "SELECT at, id, begun_at FROM prune_walk WHERE walk = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok(Mark { at: row.get(0)?, id: row.get(1)?, begun_at: row.get(2)? });
    connection.prepare_cached(sql)?.query_row([&walk.name], read).optional()
}

/// Whether what happened then is older than an age; never when it is for good.
fn is_due(at: Option<i64>, now: Timestamp, age: Option<Duration>) -> bool {
    at.zip(age).is_some_and(|(at, age)| at <= cutoff(now, age))
}

fn as_count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn bytes(pages: i64, page_bytes: i64) -> u64 {
    u64::try_from(pages.saturating_mul(page_bytes)).unwrap_or(0)
}

/// The file's pages.
struct Space {
    pages: i64,
    free: i64,
    page_bytes: i64,
    can_shrink: bool,
}

impl Space {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let number = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
        Ok(Self {
            pages: number("PRAGMA page_count")?,
            free: number("PRAGMA freelist_count")?,
            page_bytes: number("PRAGMA page_size")?,
            can_shrink: number("PRAGMA auto_vacuum")? == 2,
        })
    }
}

/// What pruning would find now.
pub(super) fn prunable(connection: &Connection, retention: &Retention, now: Timestamp) -> rusqlite::Result<Prunable> {
    let space = Space::of(connection)?;
    let mut found = Prunable {
        bytes_free: bytes(space.free, space.page_bytes),
        can_shrink: space.can_shrink,
        ..Prunable::default()
    };
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get(0)).map(not_negative);
    let asked = Questions::new(DIALECT, &reaches(connection, retention, now)?, retention, now);
    found.payloads = number(&asked.texts)? + number(&asked.records)?;
    found.attempts = number(&asked.attempts)?;
    found.deliveries = number(&asked.deliveries)?;
    for (kind, age) in pruning::odd(retention) {
        let Some(age) = age else { continue };
        // Kinds are written out, so that the index of the odd ones is used.
        let sql = format!(
            "SELECT count(*) FROM notification n CROSS JOIN envelope e ON e.id = n.envelope
             WHERE n.kind = '{kind}' AND e.received_at <= ?1"
        );
        let cutoff = cutoff(now, age);
        found.notifications += connection.query_row(&sql, [cutoff], |row| row.get(0)).map(not_negative)?;
    }
    found.notifications += count_left(connection, retention, now)?;
    if let Some(age) = retention.audit {
        let sql = "SELECT count(*) FROM audit WHERE at < min(?1, (SELECT at FROM audit ORDER BY id DESC LIMIT 1) - ?2)";
        found.audit =
            connection.query_row(sql, (cutoff(now, age), AUDIT_MIN_MS), |row| row.get(0)).map(not_negative)?;
    }
    Ok(found)
}

const DIALECT: Dialect = Dialect {
    settled: "delivery d INDEXED BY delivery_settled WHERE d.unsettled = 0",
    same_record: "b.record_id = n.record_id AND b.record_id <> ''",
};

/// How far each walk over settled deliveries goes now. Rows are walked from the beginning, every day.
fn reaches(connection: &Connection, retention: &Retention, now: Timestamp) -> rusqlite::Result<Vec<Reach>> {
    let of = |(state, level, age)| {
        let mark = match level {
            Level::Rows => None,
            Level::Payloads | Level::Attempts => mark(connection, &Walk::of_deliveries(state, level))?,
        };
        Ok(Reach { state, level, mark: mark.unwrap_or_default(), cutoff: cutoff(now, age) })
    };
    pruning::levels(retention).into_iter().map(of).collect()
}

fn not_negative(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// How many notifications are old enough whose deliveries are gone, or that never had a record.
fn count_left(connection: &Connection, retention: &Retention, now: Timestamp) -> rusqlite::Result<u64> {
    let skipped = retention.skipped_empty.map_or(i64::MIN, |age| cutoff(now, age));
    let (mut count, mut below) = (0, i64::MAX);
    for (walk, age) in Walk::of_others(retention) {
        let Mark { id, .. } = walk.resumed(mark(connection, &walk)?, now);
        let values = (id, cutoff(now, age), skipped, below);
        count += connection.query_row(&pruning::left(), values, |row| row.get(0)).map(not_negative)?;
        below = id.saturating_add(1);
    }
    Ok(count)
}
