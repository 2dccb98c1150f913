//! The ledger by day: written with the counters, one row a source or destination and day; and the silence of sources.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::books::{Books, Failure};
use crate::clock::{Day, Timestamp};
use crate::store::ledger::Counter;
use crate::store::{DayChange, DayFilter, DeliveryCounts, Gap, LedgerDay, LedgerDays, NotificationCounts, Silence};

/// The accounts of a source, in the order of their columns.
pub(super) const SOURCE: [&str; 9] =
    ["received", "unique", "duplicate", "revised", "routed", "unrouted", "skipped_empty", "unreadable", "quarantined"];
/// The accounts of a destination, in the order of their columns.
pub(super) const DESTINATION: [&str; 11] = [
    "routed",
    "waiting",
    "blocked",
    "in_flight",
    "held",
    "delivered",
    "dead",
    "superseded",
    "discarded",
    "attempts",
    "attempts_unknown",
];

/// What a group of commands changed, by day.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    sources: Vec<Sheet<9>>,
    destinations: Vec<Sheet<11>>,
}

/// The changes of one owner on one day.
#[derive(Debug)]
struct Sheet<const N: usize> {
    owner: i64,
    day: Day,
    changes: [i64; N],
}

impl Sheets {
    /// Takes over one line of the accounts; what belongs to no day is left out.
    pub(super) fn add(&mut self, kind: &str, owner: i64, account: &str, day: Day, change: i64) {
        match kind {
            "source" => note(&mut self.sources, &SOURCE, owner, account, day, change),
            "destination" => note(&mut self.destinations, &DESTINATION, owner, account, day, change),
            _ => {}
        }
    }

    /// Writes all of it.
    pub(super) fn write(self, books: &mut Books) -> Result<(), Failure> {
        self.sources.iter().try_for_each(|sheet| write_source(books, sheet))?;
        self.destinations.iter().try_for_each(|sheet| write_destination(books, sheet))
    }
}

/// The row is there but for the first time of a day, so it is changed first: that costs half of what an upsert does.
fn write_source(books: &mut Books, sheet: &Sheet<9>) -> Result<(), Failure> {
    let News { last_at, silence_ms, silence_until } = books.heard.take(books.connection, sheet.owner)?;
    let key = [sheet.day.0, sheet.owner];
    let heard = [last_at, silence_ms, silence_until];
    let values = || [key.as_slice(), &sheet.changes, &heard].into_iter().flatten();
    let sql = r#"UPDATE source_day SET received = received + ?3, "unique" = "unique" + ?4, duplicate = duplicate + ?5,
        revised = revised + ?6, routed = routed + ?7, unrouted = unrouted + ?8, skipped_empty = skipped_empty + ?9,
        unreadable = unreadable + ?10, quarantined = quarantined + ?11, last_at = max(last_at, ?12),
        silence_until = iif(?13 > silence_ms, ?14, silence_until), silence_ms = max(silence_ms, ?13)
        WHERE day = ?1 AND source = ?2"#;
    if books.run(sql, params_from_iter(values()))? > 0 {
        return Ok(());
    }
    let sql = r#"INSERT INTO source_day (day, source, received, "unique", duplicate, revised, routed, unrouted,
        skipped_empty, unreadable, quarantined, last_at, silence_ms, silence_until)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"#;
    books.run(sql, params_from_iter(values())).map(|_| ())
}

fn write_destination(books: &Books, sheet: &Sheet<11>) -> Result<(), Failure> {
    let key = [sheet.day.0, sheet.owner];
    let values = || [key.as_slice(), &sheet.changes].into_iter().flatten();
    let sql = "UPDATE destination_day SET routed = routed + ?3, waiting = waiting + ?4, blocked = blocked + ?5,
        in_flight = in_flight + ?6, held = held + ?7, delivered = delivered + ?8, dead = dead + ?9,
        superseded = superseded + ?10, discarded = discarded + ?11, attempts = attempts + ?12,
        attempts_unknown = attempts_unknown + ?13 WHERE day = ?1 AND destination = ?2";
    if books.run(sql, params_from_iter(values()))? > 0 {
        return Ok(());
    }
    let sql =
        "INSERT INTO destination_day (day, destination, routed, waiting, blocked, in_flight, held, delivered, dead,
        superseded, discarded, attempts, attempts_unknown)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    books.run(sql, params_from_iter(values())).map(|_| ())
}

fn note<const N: usize>(
    sheets: &mut Vec<Sheet<N>>,
    names: &[&str; N],
    owner: i64,
    account: &str,
    day: Day,
    change: i64,
) {
    let column = names.iter().position(|name| *name == account);
    let place = match sheets.iter().position(|sheet| sheet.owner == owner && sheet.day == day) {
        Some(place) => place,
        None => {
            sheets.push(Sheet { owner, day, changes: [0; N] });
            sheets.len() - 1
        }
    };
    let cell = column.and_then(|column| sheets.get_mut(place)?.changes.get_mut(column));
    if let Some(sum) = cell {
        *sum += change;
    }
}

/// When each source was heard: in the group under way, and before.
#[derive(Debug, Default)]
pub(super) struct Heard {
    group: Vec<(i64, Timestamp, Timestamp)>,
    before: HashMap<i64, Timestamp>,
}

/// What a group adds to what is known of a source.
#[derive(Debug, Default)]
struct News {
    last_at: i64,
    silence_ms: i64,
    silence_until: i64,
}

impl Heard {
    /// An envelope came.
    pub(super) fn hear(&mut self, source: i64, at: Timestamp) {
        match self.group.iter_mut().find(|(known, ..)| *known == source) {
            Some((_, first, last)) => {
                *first = at.min(*first);
                *last = at.max(*last);
            }
            None => self.group.push((source, at, at)),
        }
    }

    /// Some of it may have been rolled back.
    pub(super) fn forget(&mut self) {
        self.group.clear();
        self.before.clear();
    }

    /// What the group brought of a source; told once, with the first of its sheets.
    fn take(&mut self, connection: &Connection, source: i64) -> rusqlite::Result<News> {
        let Some(place) = self.group.iter().position(|(known, ..)| *known == source) else {
            return Ok(News::default());
        };
        let (_, first, last) = self.group.swap_remove(place);
        let before = match self.before.get(&source) {
            Some(before) => Some(*before),
            None => last_heard(connection, source)?,
        };
        self.before.insert(source, before.map_or(last, |before| before.max(last)));
        let silence_ms = before.map_or(0, |before| first.0.saturating_sub(before.0).max(0));
        Ok(News { last_at: last.0, silence_ms, silence_until: if silence_ms > 0 { first.0 } else { 0 } })
    }
}

fn last_heard(connection: &Connection, source: i64) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT max(last_at) FROM source_day WHERE source = ?1";
    let last: Option<i64> = connection.prepare_cached(sql)?.query_row([source], |row| row.get(0))?;
    Ok(last.filter(|last| *last > 0).map(Timestamp))
}

/// The accounts of some days.
pub(super) fn ledger_days(connection: &Connection, filter: &DayFilter) -> rusqlite::Result<LedgerDays> {
    let all = filter.source.is_none() && filter.destination.is_none();
    let mut rows = Vec::new();
    if all || filter.source.is_some() {
        rows.extend(rows_of(connection, "source", &SOURCE, filter, &filter.source, |row| {
            Ok(DayChange::Source { source: row.get(1)?, counts: notification_counts(row)? })
        })?);
    }
    if all || filter.destination.is_some() {
        rows.extend(rows_of(connection, "destination", &DESTINATION, filter, &filter.destination, |row| {
            let (attempts, attempts_unknown) = (row.get(11)?, row.get(12)?);
            let counts = delivery_counts(row)?;
            Ok(DayChange::Destination { destination: row.get(1)?, counts, attempts, attempts_unknown })
        })?);
    }
    // Stable: on each day sources stay before destinations.
    rows.sort_by_key(|row| row.day);
    let sql =
        "SELECT min(day) FROM (SELECT min(day) AS day FROM source_day UNION ALL SELECT min(day) FROM destination_day)";
    let first: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(LedgerDays { first: first.map(Day), rows })
}

/// The rows of all sources or all destinations, or of the one that is named.
fn rows_of(
    connection: &Connection,
    kind: &str,
    names: &[&str],
    filter: &DayFilter,
    named: &Option<String>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<DayChange>,
) -> rusqlite::Result<Vec<LedgerDay>> {
    let columns: Vec<String> = names.iter().map(|name| format!("d.\"{name}\"")).collect();
    let sql = format!(
        "SELECT d.day, n.text, {} FROM {kind}_day d CROSS JOIN name n ON n.id = d.{kind}
         WHERE d.day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR n.text = ?3) ORDER BY d.day, n.text",
        columns.join(", ")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((filter.from.0, filter.to.0, named), |row| {
        Ok(LedgerDay { day: Day(row.get(0)?), change: read(row)? })
    })?;
    rows.collect()
}

fn notification_counts(row: &Row<'_>) -> rusqlite::Result<NotificationCounts> {
    Ok(NotificationCounts {
        received: row.get(2)?,
        unique: row.get(3)?,
        duplicate: row.get(4)?,
        revised: row.get(5)?,
        routed: row.get(6)?,
        unrouted: row.get(7)?,
        skipped_empty: row.get(8)?,
        unreadable: row.get(9)?,
        quarantined: row.get(10)?,
    })
}

fn delivery_counts(row: &Row<'_>) -> rusqlite::Result<DeliveryCounts> {
    Ok(DeliveryCounts {
        routed: row.get(2)?,
        waiting: row.get(3)?,
        blocked: row.get(4)?,
        in_flight: row.get(5)?,
        held: row.get(6)?,
        delivered: row.get(7)?,
        dead: row.get(8)?,
        superseded: row.get(9)?,
        discarded: row.get(10)?,
    })
}

/// Each account's sum over all days: kind, owner, account, sum.
pub(super) fn sums(connection: &Connection) -> rusqlite::Result<Vec<Counter>> {
    let mut sums = Vec::new();
    for (kind, names) in [("source", SOURCE.as_slice()), ("destination", DESTINATION.as_slice())] {
        let each: Vec<String> = names.iter().map(|name| format!("sum(d.\"{name}\")")).collect();
        let sql = format!(
            "SELECT coalesce(n.text, '(unknown)'), {} FROM {kind}_day d LEFT JOIN name n ON n.id = d.{kind}
             GROUP BY d.{kind}",
            each.join(", ")
        );
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let owner: String = row.get(0)?;
            for (place, name) in names.iter().enumerate() {
                sums.push((kind.to_owned(), owner.clone(), (*name).to_owned(), row.get(place + 1)?));
            }
        }
    }
    Ok(sums)
}

/// When each source was heard last, and its longest silence that ended on one of the days from `since`; nothing after `to`.
pub(super) fn gaps(connection: &Connection, since: Day, to: Option<Day>) -> rusqlite::Result<Vec<Gap>> {
    let to = to.map_or(i64::MAX, |to| to.0);
    let sql = "SELECT n.text, d.source, max(d.last_at) FROM source_day d CROSS JOIN name n ON n.id = d.source
               WHERE d.day <= ?1 GROUP BY d.source HAVING max(d.last_at) > 0 ORDER BY n.text";
    let mut statement = connection.prepare_cached(sql)?;
    let sources = statement
        .query_map([to], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?;
    let mut gaps = Vec::new();
    for found in sources {
        let (source, number, last) = found?;
        let sql = "SELECT silence_ms, silence_until FROM source_day
                   WHERE source = ?1 AND day BETWEEN ?2 AND ?3 AND silence_ms > 0 ORDER BY silence_ms DESC, day DESC LIMIT 1";
        let longest = connection
            .prepare_cached(sql)?
            .query_row((number, since.0, to), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let longest = longest
            .map(|(length, until)| Silence { since: Timestamp(until.saturating_sub(length)), until: Timestamp(until) });
        gaps.push(Gap { source, last_envelope: Timestamp(last), longest });
    }
    Ok(gaps)
}
