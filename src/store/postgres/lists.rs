//! Lists of deliveries and notifications: by which way what a filter asks for is found, and how far is looked for it.
//!
//! Whatever is asked, the rows that are looked at are bounded: by an index that leads to few, or by where looking ends. A
//! page is short then, and says where the list goes on.

use std::collections::BTreeMap;

use tokio_postgres::types::{ToSql, Type};

use super::failure::Failure;
use super::queries::{
    DELIVERY, Found, NOTIFICATION, NOTIFICATION_COLUMNS, read_delivery, read_notification, with_fields, with_ties,
};
use super::session::{Cells, Session, args, read};
use super::text;
use crate::clock::Timestamp;
use crate::delivery::State;
use crate::store::lists::{self, LOOK_LONG_MAX, LOOK_MAX, Made, Sought, Span, Walk};
use crate::store::{DeliveryFilter, DeliveryView, NotificationFilter, NotificationView, Page};

/// So many times a page is looked at first where the ids are known.
const FEW: usize = 4;

/// Conditions of a list, each with its value.
#[derive(Default)]
pub(super) struct Conditions {
    text: Vec<String>,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Conditions {
    fn push(&mut self, condition: &str, value: Box<dyn ToSql + Sync + Send>, kind: Type) {
        let place = self.place(value, kind);
        self.text.push(condition.replace('?', &place));
    }

    /// Adds a condition on a text; `?` in it is the value.
    pub(super) fn text(&mut self, condition: &str, value: Option<String>) {
        if let Some(value) = value {
            self.push(condition, Box::new(text::written(&value).into_owned()), Type::TEXT);
        }
    }

    /// Adds a condition on a number; `?` in it is the value.
    pub(super) fn number(&mut self, condition: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.push(condition, Box::new(value), Type::INT8);
        }
    }

    fn moments(&mut self, column: &str, since: Option<Timestamp>, until: Option<Timestamp>) {
        self.number(&format!("{column} >= ?"), since.map(|since| since.0));
        self.number(&format!("{column} < ?"), until.map(|until| until.0));
    }

    /// Adds a value; how a condition names it.
    fn place(&mut self, value: Box<dyn ToSql + Sync + Send>, kind: Type) -> String {
        self.values.push((value, kind));
        format!("${}", self.values.len())
    }

    fn place_text(&mut self, value: &str) -> String {
        self.place(Box::new(text::written(value).into_owned()), Type::TEXT)
    }

    fn plain(&mut self, condition: impl Into<String>) {
        self.text.push(condition.into());
    }

    /// Adds between which ids is looked.
    fn within(&mut self, span: Span, column: &str) {
        self.number(&format!("{column} > ?"), Some(span.above).filter(|above| *above > i64::MIN));
        self.number(&format!("{column} < ?"), Some(span.below).filter(|below| *below < i64::MAX));
    }

    /// `WHERE …`, in order, cut. Where the rows are named already (`d.id + 0`), the server is not to go through all of them
    /// in order for those that are named, as it would when it does not know how many there are.
    pub(super) fn ending(&self, id: &str, order: &str, limit: Option<u32>) -> String {
        let limit = lists::length(limit);
        format!(" WHERE {} ORDER BY {id} {order} LIMIT {limit}", self.all())
    }

    fn all(&self) -> String {
        if self.text.is_empty() { "TRUE".to_owned() } else { self.text.join(" AND ") }
    }

    pub(super) async fn ask(&self, session: &mut Session, sql: &str) -> Result<Vec<tokio_postgres::Row>, Failure> {
        let values: Vec<_> =
            self.values.iter().map(|(value, kind)| (value.as_ref() as &(dyn ToSql + Sync), kind.clone())).collect();
        session.query(sql, &values).await
    }

    async fn found(&self, session: &mut Session, ending: &str) -> Result<Vec<Found>, Failure> {
        read(&self.ask(session, &format!("{DELIVERY}{ending}")).await?, read_delivery)
    }

    /// The first of some deliveries, which stand in order, that the conditions hold for. Of the first few most are, and make
    /// a page; else all are looked at.
    async fn among(
        &mut self,
        session: &mut Session,
        ids: &[i64],
        order: &str,
        limit: Option<u32>,
    ) -> Result<Vec<Found>, Failure> {
        let wanted = lists::length(limit) as usize;
        let few = wanted.saturating_mul(FEW).min(ids.len());
        let place = format!("${}", self.values.len() + 1);
        self.plain(format!("d.id = ANY({place})"));
        let ending = self.ending("d.id + 0", order, limit);
        let mut found = Vec::new();
        for some in [ids.get(..few).unwrap_or_default(), ids] {
            self.values.push((Box::new(some.to_vec()), Type::INT8_ARRAY));
            found = self.found(session, &ending).await?;
            if found.len() >= wanted || some.len() == ids.len() {
                break;
            }
            self.values.pop();
        }
        Ok(found)
    }

    /// Adds what a filter asks for, all but the state and the ids; whether some of it names few.
    async fn asked(&mut self, session: &mut Session, filter: DeliveryFilter) -> Result<bool, Failure> {
        if let Some(ids) = filter.ids {
            let ids: Vec<i64> = ids.into_iter().map(|id| id.0).collect();
            self.push("d.id = ANY(?)", Box::new(ids), Type::INT8_ARRAY);
        }
        self.source(filter.source, filter.organization);
        let way = |column: &str, kind: &str| {
            format!(
                "d.way = ANY(ARRAY(SELECT way.id FROM way JOIN name ON name.id = way.{column}
                 WHERE name.kind = '{kind}' AND name.text = ?))"
            )
        };
        self.text(&way("destination", "destination"), filter.destination);
        self.text(&way("route", "route"), filter.route);
        self.named("d.notification", filter.notification_id, filter.record_id);
        self.moments("d.created_at", filter.since, filter.until);
        self.moments("d.changed_at", filter.changed_since, filter.changed_until);
        self.number("d.attempts >= ?", filter.attempts.map(i64::from));
        self.number("d.status = ?", filter.status.map(i64::from));
        self.text("strpos(d.reason, ?) > 0", filter.text);
        let is_few = self.kept(session, filter.kept, filter.kept_as).await?;
        Ok(self.searched(session, "d.notification", filter.search, &filter.search_as).await? || is_few)
    }

    /// Adds of which notification, and of which record, the notification is whose row a column names. Its rows are found
    /// first: a server that does not know yet how few they are would look through all others for them.
    fn named(&mut self, row: &str, notification_id: Option<String>, record_id: Option<String>) {
        let of = |condition: &str| format!("{row} = ANY(ARRAY(SELECT id FROM notification WHERE {condition}))");
        self.text(&of("notification_id = ?"), notification_id);
        let record = "record_id <> '' AND left(record_id, 64) = left(?, 64) AND record_id = ?";
        self.text(&of(record), record_id);
    }

    fn source(&mut self, source: Option<String>, organization: Option<String>) {
        self.text("n.source = (SELECT id FROM name WHERE kind = 'source' AND text = ?)", source);
        let key = organization.map(|organization| lists::organization_key(&organization).to_owned());
        self.text("n.organization = (SELECT id FROM name WHERE kind = 'organization' AND text = ?)", key);
    }

    /// Adds what is searched for in a field of the notification whose row a column names; whether few have it.
    async fn searched(
        &mut self,
        session: &mut Session,
        row: &str,
        asked: Option<String>,
        written_as: &[String],
    ) -> Result<bool, Failure> {
        let Some(asked) = asked else { return Ok(false) };
        let (name, sought) = lists::sought(&asked);
        let mut alone = Self::default();
        let few = alone.searched_by(name, sought, written_as);
        let is_few = sought != Sought::Any && alone.is_few(session, &few).await?;
        let by = self.searched_by(name, sought, written_as);
        self.plain(if is_few {
            format!("{row} = ANY(ARRAY({by}))")
        } else {
            format!("EXISTS ({by} AND s.notification = {row})")
        });
        Ok(is_few)
    }

    /// The question for rows of notifications in whose field something stands.
    fn searched_by(&mut self, name: &str, sought: Sought<'_>, written_as: &[String]) -> String {
        let name = self.place_text(name);
        let is = match sought {
            Sought::Any => String::new(),
            Sought::Whole(text) if written_as.is_empty() => format!(" AND s.value = {}", self.place_text(text)),
            Sought::Whole(_) => {
                let places: Vec<String> = written_as.iter().map(|form| self.place_text(form)).collect();
                format!(" AND s.value IN ({})", places.join(", "))
            }
            Sought::Beginning(text) => {
                let (low, high) = (self.place_text(text), self.place_text(&format!("{text}{}", char::MAX)));
                format!(" AND s.value >= {low} AND s.value < {high}")
            }
        };
        format!("SELECT s.notification FROM searched s WHERE s.name = {name}{is}")
    }

    /// Adds what was kept of the answer: `name=value`, or `name` for any single value; whether few have it.
    /// `written_as` is all that the value may be written as, where that is something else.
    async fn kept(
        &mut self,
        session: &mut Session,
        kept: Option<String>,
        written_as: Vec<String>,
    ) -> Result<bool, Failure> {
        let Some(kept) = kept else { return Ok(false) };
        let (name, value) = lists::kept(&kept);
        let forms = match value {
            Some(value) if written_as.is_empty() => vec![value.to_owned()],
            Some(_) => written_as,
            None => Vec::new(),
        };
        // Few are looked up by what was kept; of many, each that is looked at is asked for it.
        let mut alone = Self::default();
        let few = alone.kept_by(name, &forms);
        let is_few = !forms.is_empty() && alone.is_few(session, &few).await?;
        let by = self.kept_by(name, &forms);
        self.plain(if is_few {
            format!("d.id = ANY(ARRAY({by}))")
        } else {
            format!("EXISTS ({by} AND k.delivery = d.id)")
        });
        Ok(is_few)
    }

    /// The question for deliveries of whose answer something was kept; without forms any single value.
    fn kept_by(&mut self, name: &str, forms: &[String]) -> String {
        let name = self.place_text(name);
        let forms: Vec<String> = forms
            .iter()
            .map(|form| self.place_text(form))
            .map(|form| format!("left(k.text, 64) = left({form}, 64) AND k.text = {form}"))
            .collect();
        let among = if forms.is_empty() { String::new() } else { format!(" AND ({})", forms.join(" OR ")) };
        format!("SELECT k.delivery FROM kept k WHERE k.text IS NOT NULL AND k.name = {name}{among}")
    }

    /// Whether a question with these values names few.
    async fn is_few(&self, session: &mut Session, sql: &str) -> Result<bool, Failure> {
        let sql = format!("SELECT count(*) FROM ({sql} LIMIT {LOOK_MAX}) few");
        let count = read(&self.ask(session, &sql).await?, Cells::number)?.first().copied().unwrap_or(0);
        Ok(usize::try_from(count).unwrap_or(usize::MAX) < LOOK_MAX)
    }

    /// Adds the state; and by which way those in it are found. Where looking ends before the list does.
    async fn walk(&mut self, session: &mut Session, look: &mut Look) -> Result<Option<i64>, Failure> {
        look.is_by_ids |= look.walk == Walk::InFlight;
        let is_plain = self.text.is_empty();
        let is = |state: State| format!("d.state = '{}'", state.as_str());
        let end = match look.walk {
            Walk::Named => {
                self.text.extend(look.state.map(is));
                None
            }
            Walk::InFlight => {
                self.plain(is(State::InFlight));
                self.plain("d.id = ANY(ARRAY(SELECT id FROM delivery WHERE state = 'in_flight'))");
                None
            }
            Walk::Stopped(state) => {
                self.plain(is(state));
                let rows = format!("delivery WHERE state = '{}'", state.as_str());
                if is_plain { None } else { end(session, &rows, look.span, LOOK_MAX).await? }
            }
            Walk::Open(state) => {
                self.plain(is(state));
                let (mut ids, end) = open(session, look).await?;
                ids.sort_unstable_by_key(|id| if look.span.is_rising { *id } else { -*id });
                look.among = Some(ids);
                end
            }
            Walk::Settled(state) => {
                self.plain(is(state));
                let few = format!(
                    "SELECT id FROM delivery WHERE state = '{}' AND NOT unsettled AND changed_at >= {} AND changed_at < {}",
                    state.as_str(),
                    look.changed_since,
                    look.changed_until
                );
                if Self::default().is_few(session, &few).await? {
                    look.is_by_ids = true;
                    self.plain(format!("d.id = ANY(ARRAY({few}))"));
                    None
                } else {
                    end(session, "delivery WHERE TRUE", look.span, LOOK_MAX).await?
                }
            }
            Walk::All if is_plain => None,
            Walk::All => end(session, "delivery WHERE TRUE", look.span, LOOK_MAX).await?,
        };
        if let Some(end) = end {
            look.span.end_at(end);
        }
        self.within(look.span, "d.id");
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
    /// The ids of all that comes into question are found first, by the question itself.
    is_by_ids: bool,
    /// They were found before, in the order of the list.
    among: Option<Vec<i64>>,
}

/// The deliveries of a filter, newest first.
pub(super) async fn deliveries(session: &mut Session, filter: DeliveryFilter) -> Result<Page<DeliveryView>, Failure> {
    let limit = filter.limit;
    let span = Span::behind(filter.before, filter.after);
    let mut look = Look {
        walk: filter.walk(),
        state: filter.state,
        span: made_within(session, &MADE_DELIVERIES, filter.made(), span).await?,
        destination: filter.destination.clone(),
        route: filter.route.clone(),
        changed_since: filter.changed_since.map_or(0, |since| since.0),
        changed_until: filter.changed_until.map_or(i64::MAX, |until| until.0),
        is_by_ids: filter.ids.is_some(),
        among: None,
    };
    let mut conditions = Conditions::default();
    if conditions.asked(session, filter).await? {
        look.walk = Walk::Named;
    }
    let end = conditions.walk(session, &mut look).await?;
    let order = look.span.order();
    let found = match look.among {
        Some(ids) => conditions.among(session, &ids, order, limit).await?,
        None => {
            let by = if look.is_by_ids { "d.id + 0" } else { "d.id" };
            conditions.found(session, &conditions.ending(by, order, limit)).await?
        }
    };
    let views = with_ties(session, found).await?;
    Ok(Page::of(views, |view| view.delivery_id.0, lists::length(limit), end))
}

/// The notifications of a filter, newest first, without their XML.
pub(super) async fn notifications(
    session: &mut Session,
    filter: NotificationFilter,
) -> Result<Page<NotificationView>, Failure> {
    let (limit, mut is_named) = (filter.limit, filter.is_named());
    let span = Span::behind(filter.before, filter.after);
    let mut span = made_within(session, &MADE_NOTIFICATIONS, filter.made(), span).await?;
    let mut conditions = Conditions::default();
    conditions.source(filter.source, filter.organization);
    conditions.named("n.id", filter.notification_id, filter.record_id);
    // Content that a person edited has the envelope of what it was made of.
    conditions.number("(n.edited_from IS NOT NULL OR e.received_at >= ?)", filter.since.map(|since| since.0));
    conditions.number("(n.edited_from IS NOT NULL OR e.received_at < ?)", filter.until.map(|until| until.0));
    conditions.text("strpos(n.reason, ?) > 0", filter.text);
    is_named |= conditions.searched(session, "n.id", filter.search, &filter.search_as).await?;
    let rows = match &filter.kind {
        // Written out, so that the index of the odd ones can be used.
        Some(kind) if lists::is_odd(kind) => {
            let is_plain = conditions.text.is_empty();
            conditions.plain(format!("n.kind = '{kind}'"));
            (!is_plain).then(|| format!("notification WHERE kind = '{kind}'"))
        }
        Some(kind) => {
            conditions.text("n.kind = ?", Some(kind.clone()));
            Some("notification WHERE TRUE".to_owned())
        }
        None => (!conditions.text.is_empty()).then(|| "notification WHERE TRUE".to_owned()),
    };
    let end = match rows.filter(|_| !is_named) {
        Some(rows) => end(session, &rows, span, LOOK_LONG_MAX).await?,
        None => None,
    };
    if let Some(end) = end {
        span.end_at(end);
    }
    conditions.within(span, "n.id");
    let ending = conditions.ending("n.id", span.order(), limit);
    let sql = format!("SELECT {NOTIFICATION_COLUMNS}, '' {NOTIFICATION}{ending}");
    let views = read(&conditions.ask(session, &sql).await?, read_notification)?;
    let views = with_fields(session, views).await?;
    Ok(Page::of(views, |view| view.notification.row, lists::length(limit), end))
}

/// Where looking through some rows ends, itself looked at; none when it comes to their end.
async fn end(session: &mut Session, rows: &str, span: Span, looked_max: usize) -> Result<Option<i64>, Failure> {
    let sql = format!(
        "SELECT id FROM {rows} AND id > $1 AND id < $2 ORDER BY id {} OFFSET {} LIMIT 1",
        span.order(),
        looked_max - 1
    );
    let rows = session.query(&sql, args![INT8 span.above, INT8 span.below]).await?;
    Ok(read(&rows, Cells::number)?.first().copied())
}

/// The next of what is not settled, of each way some; and where looking ends for all of them.
async fn open(session: &mut Session, look: &Look) -> Result<(Vec<i64>, Option<i64>), Failure> {
    let mut ways = Conditions::default();
    let named = |column: &str| format!("{column} = (SELECT id FROM name WHERE kind = '{column}' AND text = ?)");
    ways.text(&named("destination"), look.destination.clone());
    ways.text(&named("route"), look.route.clone());
    let rows = ways.ask(session, &format!("SELECT id FROM way WHERE {}", ways.all())).await?;
    let numbers = read(&rows, Cells::number)?;
    let (span, share) = (look.span, lists::share(numbers.len()));
    let order = span.order();
    let sql = format!(
        "SELECT w.id, o.id FROM unnest($1::bigint[]) w (id) CROSS JOIN LATERAL (
             SELECT d.id FROM delivery d WHERE d.way = w.id AND d.unsettled AND d.id > $2 AND d.id < $3
             ORDER BY d.way {order}, d.id {order} LIMIT {share}) o"
    );
    let rows = session.query(&sql, args![INT8_ARRAY numbers, INT8 span.above, INT8 span.below]).await?;
    let mut runs: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (way, id) in read(&rows, |cells| Ok((cells.number()?, cells.number()?)))? {
        runs.entry(way).or_default().push(id);
    }
    Ok(lists::merged(runs.into_values().collect(), share, span.is_rising))
}

/// How it is found when rows were made: their table, and the first row from `middle` on with its moment.
struct MadeAt {
    table: &'static str,
    first: &'static str,
}

const MADE_DELIVERIES: MadeAt = MadeAt {
    table: "delivery",
    first: "SELECT id, created_at AS at FROM delivery WHERE id >= (low + high) / 2 ORDER BY id LIMIT 1",
};
const MADE_NOTIFICATIONS: MadeAt = MadeAt {
    table: "notification",
    first: "SELECT n.id, e.received_at AS at FROM notification n JOIN envelope e ON e.id = n.envelope
            WHERE n.id >= (low + high) / 2 AND n.edited_from IS NULL ORDER BY n.id LIMIT 1",
};

/// The ids of what was made between two moments: ids rise with time, so that they are found by halving.
async fn made_within(session: &mut Session, rows: &MadeAt, made: Made, mut span: Span) -> Result<Span, Failure> {
    if let Some(since) = made.since {
        span.from(first_made(session, rows, since).await?);
    }
    if let Some(until) = made.until {
        span.up_to(first_made(session, rows, until).await?);
    }
    Ok(span)
}

/// The first id of what was made then or later.
async fn first_made(session: &mut Session, rows: &MadeAt, moment: Timestamp) -> Result<i64, Failure> {
    let MadeAt { table, first } = rows;
    let sql = format!(
        "WITH RECURSIVE halved (low, high) AS (
             SELECT coalesce((SELECT min(id) FROM {table}), 0), coalesce((SELECT max(id) FROM {table}), 0) + 1
             UNION ALL
             SELECT CASE WHEN found.at < $1 THEN found.id + 1 ELSE low END,
                    CASE WHEN found.at < $1 THEN high ELSE (low + high) / 2 END
             FROM halved LEFT JOIN LATERAL ({first}) found ON true WHERE low < high
         ) SELECT low FROM halved WHERE low >= high LIMIT 1"
    );
    let rows = session.query(&sql, args![INT8 moment.0]).await?;
    Ok(read(&rows, Cells::number)?.first().copied().unwrap_or(0))
}
