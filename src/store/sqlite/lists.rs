//! Lists of deliveries and notifications: by which way what a filter asks for is found, and how far is looked for it.
//!
//! Whatever is asked, the rows that are looked at are bounded: by an index that leads to few, or by where looking ends. A
//! page is short then, and says where the list goes on.

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde_json::json;

use super::queries::{
    DELIVERY, NOTIFICATION, NOTIFICATION_COLUMNS, read_delivery, read_notification, with_fields, with_ties,
};
use crate::clock::Timestamp;
use crate::delivery::State;
use crate::store::lists::{self, LOOK_LONG_MAX, LOOK_MAX, Made, Sought, Span, Walk};
use crate::store::{DeliveryFilter, DeliveryView, NotificationFilter, NotificationView, Page};

/// Conditions of a list, each with its value.
#[derive(Default)]
pub(super) struct Conditions {
    text: Vec<String>,
    values: Vec<Box<dyn ToSql>>,
}

impl Conditions {
    /// Adds a condition; `?` in it is the value.
    pub(super) fn and(&mut self, condition: &str, value: Option<impl ToSql + 'static>) {
        if let Some(value) = value {
            let place = self.place(value);
            self.text.push(condition.replace('?', &place));
        }
    }

    /// The values, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = &Box<dyn ToSql>> {
        self.values.iter()
    }

    /// Adds a value; how a condition names it.
    fn place(&mut self, value: impl ToSql + 'static) -> String {
        self.values.push(Box::new(value));
        format!("?{}", self.values.len())
    }

    fn and_plain(&mut self, condition: impl Into<String>) {
        self.text.push(condition.into());
    }

    fn and_moments(&mut self, column: &str, since: Option<Timestamp>, until: Option<Timestamp>) {
        self.and(&format!("{column} >= ?"), since.map(|since| since.0));
        self.and(&format!("{column} < ?"), until.map(|until| until.0));
    }

    /// Adds between which ids is looked. A sign before the column keeps SQLite from walking along it.
    fn and_within(&mut self, span: Span, column: &str) {
        self.and(&format!("{column} > ?"), Some(span.above).filter(|above| *above > i64::MIN));
        self.and(&format!("{column} < ?"), Some(span.below).filter(|below| *below < i64::MAX));
    }

    /// `WHERE …`, in order, cut.
    pub(super) fn ending(&self, id: &str, order: &str, limit: Option<u32>) -> String {
        let limit = lists::length(limit);
        format!(" WHERE {} ORDER BY {id} {order} LIMIT {limit}", self.all())
    }

    fn all(&self) -> String {
        if self.text.is_empty() { "TRUE".to_owned() } else { self.text.join(" AND ") }
    }

    /// Adds what a filter asks for, all but the state and the ids; whether some of it names few.
    fn and_asked(&mut self, connection: &Connection, filter: DeliveryFilter) -> rusqlite::Result<bool> {
        let ids = filter.ids.map(|ids| json!(ids).to_string());
        self.and("d.id IN (SELECT value FROM json_each(?))", ids);
        self.and_source(filter.source, filter.organization);
        let way = |column: &str, kind: &str| {
            format!(
                "+d.way IN (SELECT way.id FROM way JOIN name ON name.id = way.{column}
                 WHERE name.kind = '{kind}' AND name.text = ?)"
            )
        };
        self.and(&way("destination", "destination"), filter.destination);
        self.and(&way("route", "route"), filter.route);
        let of = |column: &str| format!("d.notification IN (SELECT id FROM notification WHERE {column} = ?)");
        self.and(&of("notification_id"), filter.notification_id);
        self.and(&of("record_id <> '' AND record_id"), filter.record_id);
        self.and_moments("d.created_at", filter.since, filter.until);
        self.and_moments("+d.changed_at", filter.changed_since, filter.changed_until);
        self.and("d.attempts >= ?", filter.attempts);
        self.and("d.status = ?", filter.status);
        self.and("instr(d.reason, ?) > 0", filter.text);
        let is_few = self.and_kept(connection, filter.kept, filter.kept_as)?;
        Ok(self.and_searched(connection, "d.notification", filter.search, &filter.search_as)? || is_few)
    }

    fn and_source(&mut self, source: Option<String>, organization: Option<String>) {
        self.and("n.source = (SELECT id FROM name WHERE kind = 'source' AND text = ?)", source);
        let key = organization.map(|organization| lists::organization_key(&organization).to_owned());
        self.and("n.organization = (SELECT id FROM name WHERE kind = 'organization' AND text = ?)", key);
    }

    /// Adds what is searched for in a field of the notification whose row a column names; whether few have it.
    fn and_searched(
        &mut self,
        connection: &Connection,
        row: &str,
        asked: Option<String>,
        written_as: &[String],
    ) -> rusqlite::Result<bool> {
        let Some(asked) = asked else { return Ok(false) };
        let (name, sought) = lists::sought(&asked);
        let mut alone = Self::default();
        let few = alone.searched_by("value", name, sought, written_as);
        let is_few = sought != Sought::Any && is_few(connection, &few, &alone)?;
        // Of many, each is asked by its own row: the sign keeps SQLite from reading all that have such a value.
        let by = self.searched_by(if is_few { "value" } else { "+value" }, name, sought, written_as);
        self.and_plain(if is_few {
            format!("{row} IN ({by})")
        } else {
            format!("EXISTS ({by} AND notification = {row})")
        });
        Ok(is_few)
    }

    /// The question for rows of notifications in whose field something stands.
    fn searched_by(&mut self, value: &str, name: &str, sought: Sought<'_>, written_as: &[String]) -> String {
        let name = self.place(name.to_owned());
        let is = match sought {
            Sought::Any => String::new(),
            Sought::Whole(text) if written_as.is_empty() => format!(" AND {value} = {}", self.place(text.to_owned())),
            Sought::Whole(_) => {
                let places: Vec<String> = written_as.iter().map(|form| self.place(form.clone())).collect();
                format!(" AND {value} IN ({})", places.join(", "))
            }
            Sought::Beginning(text) => {
                let (low, high) = (self.place(text.to_owned()), self.place(format!("{text}{}", char::MAX)));
                format!(" AND {value} >= {low} AND {value} < {high}")
            }
        };
        format!("SELECT notification FROM searched WHERE name = {name}{is}")
    }

    /// Adds what was kept of the answer: `name=value`, or `name` for any single value; whether few have it.
    /// `written_as` is all that the value may be written as, where that is something else.
    fn and_kept(
        &mut self,
        connection: &Connection,
        kept: Option<String>,
        written_as: Vec<String>,
    ) -> rusqlite::Result<bool> {
        let Some(kept) = kept else { return Ok(false) };
        let (name, text) = lists::kept(&kept);
        let forms = match text {
            Some(text) if written_as.is_empty() => vec![text.to_owned()],
            Some(_) => written_as,
            None => Vec::new(),
        };
        // Few are looked up by what was kept; of many, each that is looked at is asked for it.
        let mut alone = Self::default();
        let few = alone.kept_by(name, &forms);
        let is_few = !forms.is_empty() && is_few(connection, &few, &alone)?;
        let by = self.kept_by(name, &forms);
        self.and_plain(if is_few { format!("d.id IN ({by})") } else { format!("EXISTS ({by} AND delivery = d.id)") });
        Ok(is_few)
    }

    /// The question for deliveries of whose answer something was kept; without forms any single value.
    fn kept_by(&mut self, name: &str, forms: &[String]) -> String {
        let name = self.place(name.to_owned());
        let among = match forms {
            [] => String::new(),
            forms => {
                let places: Vec<String> = forms.iter().map(|form| self.place(form.clone())).collect();
                format!(" AND text IN ({})", places.join(", "))
            }
        };
        format!("SELECT delivery FROM kept WHERE text IS NOT NULL AND name = {name}{among}")
    }

    /// Adds the state; and by which way those in it are found. Where looking ends before the list does.
    fn and_walk(&mut self, connection: &Connection, look: &mut Look) -> rusqlite::Result<Option<i64>> {
        let is_plain = self.text.is_empty();
        let is = |state: State| format!("+d.state = '{}'", state.as_str());
        let end = match look.walk {
            Walk::Named => {
                self.text.extend(look.state.map(is));
                self.and_within(look.span, "+d.id");
                return Ok(None);
            }
            Walk::InFlight => {
                self.and_plain(is(State::InFlight));
                self.and_plain(
                    "d.id IN (SELECT id FROM delivery INDEXED BY delivery_in_flight WHERE state = 'in_flight')",
                );
                None
            }
            Walk::Stopped(state) => {
                let stopped = format!("state = '{}'", state.as_str());
                self.and_plain(format!("d.{stopped}"));
                let rows = format!("delivery INDEXED BY delivery_stopped WHERE {stopped}");
                if is_plain { None } else { end(connection, &rows, look.span, LOOK_MAX)? }
            }
            Walk::Open(state) => {
                self.and_plain(is(state));
                let (ids, end) = open(connection, look)?;
                self.and("d.id IN (SELECT value FROM json_each(?))", Some(json!(ids).to_string()));
                end
            }
            Walk::Settled(state) => {
                self.and_plain(is(state));
                match settled(connection, state, look)? {
                    Some(few) => {
                        self.and_plain(few);
                        None
                    }
                    None => end(connection, "delivery WHERE TRUE", look.span, LOOK_MAX)?,
                }
            }
            Walk::All if is_plain => None,
            Walk::All => end(connection, "delivery WHERE TRUE", look.span, LOOK_MAX)?,
        };
        if let Some(end) = end {
            look.span.end_at(end);
        }
        self.and_within(look.span, "d.id");
        Ok(end)
    }
}

/// What the way to the deliveries of a filter depends on.
struct Look {
    walk: Walk,
    state: Option<State>,
    span: Span,
    destination: Option<String>,
    route: Option<String>,
    changed_since: i64,
    changed_until: i64,
}

/// The deliveries of a filter, newest first.
pub(super) fn deliveries(connection: &Connection, filter: DeliveryFilter) -> rusqlite::Result<Page<DeliveryView>> {
    let limit = filter.limit;
    let mut look = Look {
        walk: filter.walk(),
        state: filter.state,
        span: made_within(connection, &MADE_DELIVERIES, filter.made(), Span::behind(filter.before, filter.after))?,
        destination: filter.destination.clone(),
        route: filter.route.clone(),
        changed_since: filter.changed_since.map_or(0, |since| since.0),
        changed_until: filter.changed_until.map_or(i64::MAX, |until| until.0),
    };
    let mut conditions = Conditions::default();
    if conditions.and_asked(connection, filter)? {
        look.walk = Walk::Named;
    }
    let end = conditions.and_walk(connection, &mut look)?;
    let sql = format!("{DELIVERY}{}", conditions.ending("d.id", look.span.order(), limit));
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(conditions.values()), read_delivery)?;
    let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
    let views: Vec<DeliveryView> =
        found.into_iter().map(|found| with_ties(connection, found)).collect::<rusqlite::Result<_>>()?;
    Ok(Page::of(views, |view| view.delivery_id.0, lists::length(limit), end))
}

/// The notifications of a filter, newest first, without their XML.
pub(super) fn notifications(
    connection: &Connection,
    filter: NotificationFilter,
) -> rusqlite::Result<Page<NotificationView>> {
    let (limit, mut is_named) = (filter.limit, filter.is_named());
    let mut span =
        made_within(connection, &MADE_NOTIFICATIONS, filter.made(), Span::behind(filter.before, filter.after))?;
    let mut conditions = Conditions::default();
    conditions.and_source(filter.source, filter.organization);
    conditions.and("n.notification_id = ?", filter.notification_id);
    conditions.and("n.record_id <> '' AND n.record_id = ?", filter.record_id);
    // Content that a person edited has the envelope of what it was made of.
    conditions.and("(n.edited_from IS NOT NULL OR e.received_at >= ?)", filter.since.map(|since| since.0));
    conditions.and("(n.edited_from IS NOT NULL OR e.received_at < ?)", filter.until.map(|until| until.0));
    conditions.and("instr(n.reason, ?) > 0", filter.text);
    is_named |= conditions.and_searched(connection, "n.id", filter.search, &filter.search_as)?;
    let rows = match &filter.kind {
        // Written out, so that the index of the odd ones can be used.
        Some(kind) if lists::is_odd(kind) => {
            let is_plain = conditions.text.is_empty();
            let sign = if is_named { "+" } else { "" };
            conditions.and_plain(format!("{sign}n.kind = '{kind}'"));
            (!is_plain).then(|| format!("notification INDEXED BY notification_odd WHERE kind = '{kind}'"))
        }
        Some(kind) => {
            conditions.and("+n.kind = ?", Some(kind.clone()));
            Some("notification WHERE TRUE".to_owned())
        }
        None => (!conditions.text.is_empty()).then(|| "notification WHERE TRUE".to_owned()),
    };
    let end = match rows.filter(|_| !is_named) {
        Some(rows) => end(connection, &rows, span, LOOK_LONG_MAX)?,
        None => None,
    };
    if let Some(end) = end {
        span.end_at(end);
    }
    conditions.and_within(span, if is_named { "+n.id" } else { "n.id" });
    let ending = conditions.ending("n.id", span.order(), limit);
    let sql = format!("SELECT {NOTIFICATION_COLUMNS}, '' {NOTIFICATION}{ending}");
    let mut statement = connection.prepare_cached(&sql)?;
    let views = statement
        .query_map(params_from_iter(conditions.values()), read_notification)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let views = with_fields(connection, views)?;
    Ok(Page::of(views, |view| view.notification.row, lists::length(limit), end))
}

/// Where looking through some rows ends, itself looked at; none when it comes to their end.
fn end(connection: &Connection, rows: &str, span: Span, looked_max: usize) -> rusqlite::Result<Option<i64>> {
    let sql = format!(
        "SELECT id FROM {rows} AND id > ?1 AND id < ?2 ORDER BY id {} LIMIT 1 OFFSET {}",
        span.order(),
        looked_max - 1
    );
    connection.prepare_cached(&sql)?.query_row([span.above, span.below], |row| row.get(0)).optional()
}

/// Whether a question names few.
fn is_few(connection: &Connection, sql: &str, values: &Conditions) -> rusqlite::Result<bool> {
    let sql = format!("SELECT count(*) FROM ({sql} LIMIT {LOOK_MAX})");
    let count: i64 = connection.prepare_cached(&sql)?.query_row(params_from_iter(values.values()), |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX) < LOOK_MAX)
}

/// The condition that names those in a settled state by when they changed, where they are few.
fn settled(connection: &Connection, state: State, look: &Look) -> rusqlite::Result<Option<String>> {
    let few = format!(
        "SELECT id FROM delivery INDEXED BY delivery_settled WHERE state = '{}' AND unsettled = 0
         AND changed_at >= {} AND changed_at < {}",
        state.as_str(),
        look.changed_since,
        look.changed_until
    );
    Ok(is_few(connection, &few, &Conditions::default())?.then(|| format!("d.id IN ({few})")))
}

/// The next of what is not settled, of each way some; and where looking ends for all of them.
fn open(connection: &Connection, look: &Look) -> rusqlite::Result<(Vec<i64>, Option<i64>)> {
    let mut ways = Conditions::default();
    let named = |column: &str| format!("{column} = (SELECT id FROM name WHERE kind = '{column}' AND text = ?)");
    ways.and(&named("destination"), look.destination.clone());
    ways.and(&named("route"), look.route.clone());
    let mut statement = connection.prepare_cached(&format!("SELECT id FROM way WHERE {}", ways.all()))?;
    let numbers: Vec<i64> =
        statement.query_map(params_from_iter(ways.values()), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let (span, share) = (look.span, lists::share(numbers.len()));
    let sql = format!(
        "SELECT id FROM delivery INDEXED BY delivery_open WHERE way = ?1 AND unsettled = 1 AND id > ?2 AND id < ?3
         ORDER BY id {} LIMIT {share}",
        span.order()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut runs = Vec::with_capacity(numbers.len());
    for way in numbers {
        let run = statement.query_map([way, span.above, span.below], |row| row.get(0))?;
        runs.push(run.collect::<rusqlite::Result<Vec<i64>>>()?);
    }
    Ok(lists::merged(runs, share, span.is_rising))
}

/// How it is found when rows were made: the edges of their ids, and the first row from an id on with its moment.
struct MadeAt {
    edges: &'static str,
    first: &'static str,
}

const MADE_DELIVERIES: MadeAt = MadeAt {
    edges: "SELECT coalesce((SELECT min(id) FROM delivery), 0), coalesce((SELECT max(id) FROM delivery), 0)",
    first: "SELECT id, created_at FROM delivery WHERE id >= ?1 ORDER BY id LIMIT 1",
};
const MADE_NOTIFICATIONS: MadeAt = MadeAt {
    edges: "SELECT coalesce((SELECT min(id) FROM notification), 0), coalesce((SELECT max(id) FROM notification), 0)",
    first: "SELECT n.id, e.received_at FROM notification n CROSS JOIN envelope e ON e.id = n.envelope
            WHERE n.id >= ?1 AND n.edited_from IS NULL ORDER BY n.id LIMIT 1",
};

/// The ids of what was made between two moments: ids rise with time, so that they are found by halving.
fn made_within(connection: &Connection, rows: &MadeAt, made: Made, mut span: Span) -> rusqlite::Result<Span> {
    if let Some(since) = made.since {
        span.from(first_made(connection, rows, since)?);
    }
    if let Some(until) = made.until {
        span.up_to(first_made(connection, rows, until)?);
    }
    Ok(span)
}

/// The first id of what was made then or later.
fn first_made(connection: &Connection, rows: &MadeAt, moment: Timestamp) -> rusqlite::Result<i64> {
    let edges = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let (mut low, last) = connection.prepare_cached(rows.edges)?.query_row([], edges)?;
    let mut high = last.saturating_add(1);
    let mut statement = connection.prepare_cached(rows.first)?;
    while low < high {
        let middle = low + (high - low) / 2;
        match statement.query_row([middle], edges).optional()? {
            Some((id, at)) if at < moment.0 => low = id.saturating_add(1),
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::store::sqlite::schema;

    /// A store of so many deliveries: most are delivered, some wait, are dead or superseded, of two destinations.
    fn filled(path: &std::path::Path, count: i64) -> Connection {
        schema::create(path).unwrap();
        let connection = schema::writer(path).unwrap();
        let fill = format!(
            "INSERT INTO name (id, kind, text) VALUES (1, 'source', 'orders'), (2, 'organization', '00D24000000abcd'),
                 (3, 'route', 'a'), (4, 'destination', 'erp'), (5, 'system', 'erp'), (6, 'route', 'b'),
                 (7, 'destination', 'crm');
             INSERT INTO way (id, route, destination, system) VALUES (1, 3, 4, 5), (2, 6, 7, 5);
             INSERT INTO envelope VALUES (1, 1, 0, 1, '00D24000000abcdEAA', '04k', '', '', '');
             CREATE TEMP TABLE number AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
                 SELECT i FROM n;
             INSERT INTO notification (id, envelope, source, organization, notification_id, revision, kind, hash,
                 record_type, record_id, xml)
             SELECT i, 1, 1, 2, '04l' || i, 1, 'routed', zeroblob(32), 'Order', '006' || i, '<a/>' FROM number;
             INSERT INTO searched SELECT i, 'Name', 'ACME' FROM number;
             INSERT INTO delivery (id, notification, way, system, lane, state, unsettled, due_at, attempts, created_at,
                 changed_at, status, reason)
             SELECT i, i, 1 + (i % 50 = 0), 5, 'L' || i,
                 CASE i % 4 WHEN 0 THEN 'waiting' WHEN 1 THEN 'dead' WHEN 2 THEN 'superseded' ELSE 'delivered' END,
                 i % 4 = 0, iif(i % 4 = 0, 1, NULL), 1, i * 1000, i * 1000, 200, iif(i % 4 IN (1, 2), 'no', NULL) FROM number;
             INSERT INTO counter VALUES ('destination', 4, 'waiting', {count} / 4);"
        );
        connection.execute_batch(&fill).unwrap();
        connection
    }

    /// How many steps of SQLite's machine a page takes, in thousands.
    fn steps(connection: &mut Connection, ask: impl FnOnce(&Connection)) -> u64 {
        let steps = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&steps);
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.progress_handler(1_000, Some(count)).unwrap();
        ask(connection);
        connection.progress_handler(1_000, None::<fn() -> bool>).unwrap();
        steps.load(Ordering::Relaxed)
    }

    /// Filters that each find nothing, or little of what there is.
    fn delivery_filters() -> Vec<DeliveryFilter> {
        let none = DeliveryFilter::default;
        let some = |text: &str| Some(text.to_owned());
        let alone = [
            none(),
            DeliveryFilter { source: some("nobody"), ..none() },
            DeliveryFilter { organization: some("00D"), ..none() },
            DeliveryFilter { destination: some("crm"), ..none() },
            DeliveryFilter { route: some("nobody"), ..none() },
            DeliveryFilter { notification_id: some("04l7"), ..none() },
            DeliveryFilter { record_id: some("0067"), ..none() },
            DeliveryFilter { since: Some(Timestamp(i64::MAX)), ..none() },
            DeliveryFilter { until: Some(Timestamp(1)), ..none() },
            DeliveryFilter { changed_since: Some(Timestamp(i64::MAX)), ..none() },
            DeliveryFilter { changed_until: Some(Timestamp(1)), ..none() },
            DeliveryFilter { attempts: Some(2), ..none() },
            DeliveryFilter { status: Some(401), ..none() },
            DeliveryFilter { text: some("nothing says so"), ..none() },
            DeliveryFilter { kept: some("order=4711"), ..none() },
            DeliveryFilter { kept: some("order"), ..none() },
            DeliveryFilter { search: some("Name=nobody"), ..none() },
            DeliveryFilter { search: some("Name=ACME"), ..none() },
            DeliveryFilter { search: some("Name=A*"), ..none() },
            DeliveryFilter { search: some("Other"), ..none() },
        ];
        let states = [
            None,
            Some(State::Waiting),
            Some(State::Blocked),
            Some(State::InFlight),
            Some(State::Held),
            Some(State::Dead),
            Some(State::Delivered),
            Some(State::Superseded),
            Some(State::Discarded),
        ];
        let with = |filter: &DeliveryFilter| states.map(|state| DeliveryFilter { state, ..filter.clone() });
        alone.iter().flat_map(with).collect()
    }

    fn notification_filters() -> Vec<NotificationFilter> {
        let none = NotificationFilter::default;
        let some = |text: &str| Some(text.to_owned());
        let alone = [
            none(),
            NotificationFilter { source: some("nobody"), ..none() },
            NotificationFilter { organization: some("00D"), ..none() },
            NotificationFilter { notification_id: some("04l7"), ..none() },
            NotificationFilter { record_id: some("0067"), ..none() },
            NotificationFilter { since: Some(Timestamp(i64::MAX)), ..none() },
            NotificationFilter { until: Some(Timestamp(-1)), ..none() },
            NotificationFilter { text: some("nothing says so"), ..none() },
            NotificationFilter { search: some("Name=nobody"), ..none() },
            NotificationFilter { search: some("Name=A*"), ..none() },
            NotificationFilter { search: some("Other"), ..none() },
        ];
        let kinds = [None, some("routed"), some("revised"), some("unrouted"), some("skipped_empty")];
        let with =
            |filter: &NotificationFilter| kinds.clone().map(|kind| NotificationFilter { kind, ..filter.clone() });
        alone.iter().flat_map(with).collect()
    }

    #[test]
    fn what_a_page_costs_does_not_grow_with_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let mut stores = [100_000, 300_000].map(|count| filled(&folder.path().join(format!("{count}.db")), count));
        let is_flat = |[small, large]: [u64; 2]| large <= small + small / 2 + 40;
        for filter in delivery_filters() {
            for after in [None, Some(0)] {
                let filter = DeliveryFilter { after, ..filter.clone() };
                let cost = stores
                    .each_mut()
                    .map(|store| steps(store, |store| drop(deliveries(store, filter.clone()).unwrap())));
                assert!(is_flat(cost), "{cost:?} thousand steps: {filter:?}");
            }
        }
        for filter in notification_filters() {
            let cost = stores
                .each_mut()
                .map(|store| steps(store, |store| drop(notifications(store, filter.clone()).unwrap())));
            assert!(is_flat(cost), "{cost:?} thousand steps: {filter:?}");
        }
    }

    #[test]
    fn what_was_made_between_two_moments_is_found_by_halving() {
        let folder = tempfile::tempdir().unwrap();
        let connection = filled(&folder.path().join("store.db"), 1_000);
        connection.execute("DELETE FROM delivery WHERE id BETWEEN 300 AND 700", []).unwrap();
        for moment in [0, 1_000, 1_001, 299_000, 299_001, 500_000, 701_000, 1_000_000] {
            let found = first_made(&connection, &MADE_DELIVERIES, Timestamp(moment)).unwrap();
            let first: i64 = connection
                .query_row("SELECT min(id) FROM delivery WHERE created_at >= ?1", [moment], |row| row.get(0))
                .unwrap();
            assert!(
                found <= first && (found..first).all(|id| (300..=700).contains(&id)),
                "{moment}: {found}, not {first}"
            );
        }
        assert_eq!(first_made(&connection, &MADE_DELIVERIES, Timestamp(i64::MAX)).unwrap(), 1_001);
    }
}
