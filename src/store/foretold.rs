//! What a dry run of pruning asks: how much each walk would take, less what must stay for a reason. The conditions are those
//! of pruning itself, put as questions about everything at once, for either kind of database.

use super::Retention;
use super::pruning::{self, EARLIER_MAX, Level, Mark, SUCCESSORS_MAX, cutoff};
use crate::clock::Timestamp;
use crate::delivery::State;

/// How a kind of database says what both do not say alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// Deliveries `d` that are settled, found by the index over those.
    pub(super) settled: &'static str,
    /// Whether notification `b` is of the record of `n`, so that the index by records is used.
    pub(super) same_record: &'static str,
}

/// Where a walk over settled deliveries stands, and how far it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) state: State,
    pub(super) level: Level,
    pub(super) mark: Mark,
    pub(super) cutoff: i64,
}

/// The questions of a dry run; each is answered by one number.
#[derive(Debug)]
pub(super) struct Questions {
    /// Attempts whose texts go.
    pub(super) texts: String,
    /// Records that go.
    pub(super) records: String,
    /// Attempts that go, by themselves or with their deliveries.
    pub(super) attempts: String,
    /// Deliveries that go.
    pub(super) deliveries: String,
}

impl Questions {
    /// About these walks.
    pub(super) fn new(dialect: Dialect, walks: &[Reach], retention: &Retention, now: Timestamp) -> Self {
        let payloads = found(dialect, walks, Level::Payloads, "");
        let going = found(dialect, walks, Level::Rows, &format!("AND NOT ({})", stays(dialect)));
        let attempts = found(dialect, walks, Level::Attempts, "");
        Self {
            texts: format!(
                "SELECT count(*) FROM ({payloads}) old JOIN attempt a ON a.delivery = old.id
                 WHERE octet_length(a.request) > 0 OR octet_length(a.response) > 0 OR a.fault IS NOT NULL"
            ),
            records: records(&payloads, retention, now),
            attempts: format!(
                "SELECT count(*) FROM (SELECT id FROM ({attempts}) one UNION SELECT id FROM ({going}) other) old
                 JOIN attempt a ON a.delivery = old.id"
            ),
            deliveries: format!("SELECT count(*) FROM ({going}) old"),
        }
    }
}

/// The settled deliveries that the walks of a level find.
fn found(Dialect { settled, .. }: Dialect, walks: &[Reach], level: Level, and: &str) -> String {
    let of_walk = |Reach { state, mark: Mark { at, id, .. }, cutoff, .. }: &Reach| {
        format!(
            "SELECT d.id, d.notification FROM {settled} AND d.state = '{}' AND d.changed_at >= {at}
             AND d.changed_at <= {cutoff} AND (d.changed_at > {at} OR d.id > {id}) {and}",
            state.as_str()
        )
    };
    let all: Vec<String> = walks.iter().filter(|walk| walk.level == level).map(of_walk).collect();
    if all.is_empty() {
        "SELECT id, notification FROM delivery WHERE 1 = 0".to_owned()
    } else {
        all.join(" UNION ALL ")
    }
}

/// Why delivery `d` stays although it is old enough: another needs its answer; the last that took its place is a dead letter,
/// or may become one; or there are too many earlier ones of its record to look through.
fn stays(Dialect { same_record, .. }: Dialect) -> String {
    let over = "('delivered', 'superseded', 'discarded')";
    format!(
        "d.has_followers AND EXISTS (SELECT 1 FROM delivery f WHERE f.comes_after = d.id AND f.comes_after IS NOT NULL
             AND f.state NOT IN {over})
         OR d.state = 'superseded' AND d.superseded_by IS NOT NULL AND coalesce((
             WITH RECURSIVE after (id, place) AS (
                 SELECT d.superseded_by, 1
                 UNION ALL SELECT next.superseded_by, after.place + 1 FROM after JOIN delivery next ON next.id = after.id
                 WHERE next.superseded_by IS NOT NULL AND after.place < {SUCCESSORS_MAX}
             ) SELECT last.state NOT IN {over} FROM after JOIN delivery last ON last.id = after.id
             ORDER BY after.place DESC LIMIT 1), false)
         OR d.state = 'delivered' AND (SELECT count(*) FROM (
             SELECT 1 FROM notification n JOIN notification b ON {same_record}
             WHERE n.id = d.notification AND n.record_id <> '' AND b.id < n.id LIMIT {EARLIER_MAX}) earlier) >= {EARLIER_MAX}"
    )
}

/// The records of all revisions that may not be sent any more and are not to be kept longer.
fn records(payloads: &str, retention: &Retention, now: Timestamp) -> String {
    let moment = |age: Option<std::time::Duration>| {
        let at = age.map_or_else(|| "NULL".to_owned(), |age| cutoff(now, age).to_string());
        format!("CAST({at} AS bigint)")
    };
    let [delivered, superseded, discarded] =
        [retention.delivered, retention.superseded, retention.discarded].map(|kept| moment(kept.payloads));
    let unused = moment(pruning::unused(retention));
    format!(
        "SELECT count(DISTINCT other.id) FROM ({payloads}) old JOIN notification n ON n.id = old.notification
         JOIN notification other ON other.notification_id = n.notification_id AND other.organization = n.organization
         LEFT JOIN envelope e ON e.id = other.envelope
         WHERE octet_length(other.xml) > 0
         AND NOT EXISTS (SELECT 1 FROM delivery x WHERE x.notification = other.id AND (x.unsettled OR NOT coalesce(
             x.changed_at <= CASE x.state WHEN 'delivered' THEN {delivered} WHEN 'superseded' THEN {superseded}
                 WHEN 'discarded' THEN {discarded} END, false)))
         AND (coalesce(e.received_at <= {unused}, false)
             OR EXISTS (SELECT 1 FROM delivery x WHERE x.notification = other.id))"
    )
}
