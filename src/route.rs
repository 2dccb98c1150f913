//! Which deliveries a notification becomes, and in which lanes. Pure.

use std::fmt;

use serde_json::Value as Json;

use crate::delivery::{After, Coalesce, OnRevision, Planned};
use crate::envelope::{Content, Notification};
use crate::expression::{Expression, Subject};
use crate::stale;

/// A lane's key longer than this, in characters, is replaced by its digest: keys are indexed.
const LANE_LENGTH_MAX: usize = 255;

/// One route of a source, compiled.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Where to.
    pub destination: String,
    /// The destination's system.
    pub system: String,
    /// Only notifications for which this is true; none: all.
    pub when: Option<Expression>,
    /// What keeps its order.
    pub lane: Lane,
    /// What happens to a notification without sObject.
    pub on_empty: OnEmpty,
    /// True of a record that says that it was deleted; none: none says so.
    pub deleted_when: Option<Expression>,
    /// What happens to such a record.
    pub on_deleted: OnEmpty,
    /// What happens to a revision.
    pub on_revision: OnRevision,
    /// Whether of several waiting updates of a record only the newest goes out.
    pub coalesce: bool,
    /// The field whose value tells newer from older.
    pub stale_by: Option<String>,
    /// The route whose delivery of the same notification must be delivered first.
    pub after: Option<After>,
}

/// What must keep its order.
#[derive(Clone, Debug)]
pub enum Lane {
    /// The changes of one record: the default. Without a record Id there is no order to keep.
    Record,
    /// Nothing.
    None,
    /// What has the same value; none falls back to the record's Id.
    Expression(Expression),
}

/// What a route does with a notification without sObject, or whose record says that it was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnEmpty {
    /// Nothing.
    #[default]
    Skip,
    /// It is delivered, whatever `when` says: its fields are none, so there is nothing to ask.
    Deliver,
    /// It becomes a dead letter.
    Dead,
}

/// The deliveries that a notification becomes. An unreadable one becomes none.
///
/// `on_empty` and `on_deleted` decide before `when`. An error in `deleted_when`, `when` or `lane` makes a dead delivery of
/// that route, never a silent no-match.
#[must_use]
pub fn deliveries(routes: &[Route], notification: &Notification, subject: &Subject<'_>) -> Vec<Planned> {
    let is_empty = match &notification.content {
        Content::Unreadable { .. } => return Vec::new(),
        Content::Empty { .. } => true,
        Content::Record { .. } => false,
    };
    routes.iter().filter_map(|route| Some(delivery(route, is_empty, subject).ok()?.planned)).collect()
}

/// The delivery that a route makes of a notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The delivery.
    pub planned: Planned,
    /// It is dead, for a condition of the route could not be decided.
    pub is_undecided: bool,
}

impl From<Planned> for Made {
    fn from(planned: Planned) -> Self {
        Self { planned, is_undecided: false }
    }
}

/// Why a route makes no delivery of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Its condition does not hold.
    When(String),
    /// The notification has no sObject, and the route skips those.
    Empty,
    /// The record says that it was deleted, and the route skips those.
    Deleted(String),
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::When(when) => write!(f, "its condition `{when}` does not hold"),
            Self::Empty => f.write_str("the notification has no sObject, and the route says on_empty = \"skip\""),
            Self::Deleted(when) => {
                write!(f, "`{when}` says that the record was deleted, and the route says on_deleted = \"skip\"")
            }
        }
    }
}

/// What each route makes of a notification that can be read, and why it makes nothing where it makes nothing.
pub fn considered<'r>(
    routes: &'r [Route],
    is_empty: bool,
    subject: &Subject<'_>,
) -> Vec<(&'r Route, Result<Made, Passed>)> {
    routes.iter().map(|route| (route, delivery(route, is_empty, subject))).collect()
}

/// The delivery that a route makes of a notification which a person wants to go along it, whatever its `when` says.
///
/// # Errors
/// Why its lane cannot be found.
pub fn by_hand(route: &Route, subject: &Subject<'_>) -> Result<Planned, String> {
    let lane =
        lane(&route.lane, subject).map_err(|reason| format!("route {}: finding `lane`: {reason}", route.name))?;
    Ok(planned(route, lane, None))
}

fn delivery(route: &Route, is_empty: bool, subject: &Subject<'_>) -> Result<Made, Passed> {
    if let Some(decided) = if is_empty { empty(route, subject) } else { conditions(route, subject) } {
        return decided;
    }
    let planned = match lane(&route.lane, subject) {
        Ok(lane) => {
            let coalesce = coalesce(route, lane.as_ref(), subject);
            Planned { coalesce, ..planned(route, lane, None) }
        }
        Err(reason) => {
            planned(route, record_lane(subject), Some(format!("route {}: finding `lane`: {reason}", route.name)))
        }
    };
    Ok(planned.into())
}

/// What becomes of a notification without record; none when it is delivered. A condition on fields that it has not could
/// only leave it out.
fn empty(route: &Route, subject: &Subject<'_>) -> Option<Result<Made, Passed>> {
    match route.on_empty {
        OnEmpty::Skip => Some(Err(Passed::Empty)),
        OnEmpty::Deliver => None,
        OnEmpty::Dead => {
            let reason = "the notification has no sObject (the record was deleted before it was sent), and the \
                          route says on_empty = \"dead\"";
            Some(Ok(planned(route, record_lane(subject), Some(reason.to_owned())).into()))
        }
    }
}

/// What a route's conditions make of a record; none when it is delivered.
fn conditions(route: &Route, subject: &Subject<'_>) -> Option<Result<Made, Passed>> {
    if let Some(decided) = tombstone(route, subject) {
        return Some(decided);
    }
    let when = route.when.as_ref()?;
    match when.holds(subject) {
        Ok(true) => None,
        Ok(false) => Some(Err(Passed::When(when.to_string()))),
        Err(error) => Some(Ok(undecided(route, "when", &error, subject))),
    }
}

/// What becomes of a notification when one of a route's conditions fails.
fn undecided(route: &Route, key: &str, error: &impl fmt::Display, subject: &Subject<'_>) -> Made {
    let reason = format!("route {}: deciding `{key}`: {error}", route.name);
    Made { planned: planned(route, record_lane(subject), Some(reason)), is_undecided: true }
}

/// What becomes of a record that says that it was deleted; none when `when` decides as of any other.
fn tombstone(route: &Route, subject: &Subject<'_>) -> Option<Result<Made, Passed>> {
    let when = route.deleted_when.as_ref()?;
    match when.holds(subject) {
        Ok(false) => None,
        Err(error) => Some(Ok(undecided(route, "deleted_when", &error, subject))),
        Ok(true) => match route.on_deleted {
            OnEmpty::Skip => Some(Err(Passed::Deleted(when.to_string()))),
            OnEmpty::Deliver => None,
            OnEmpty::Dead => {
                let reason = "the record says that it was deleted, and the route says on_deleted = \"dead\"";
                Some(Ok(planned(route, record_lane(subject), Some(reason.to_owned())).into()))
            }
        },
    }
}

fn planned(route: &Route, lane: Option<String>, dead: Option<String>) -> Planned {
    Planned {
        route: route.name.clone(),
        destination: route.destination.clone(),
        system: route.system.clone(),
        lane,
        on_revision: route.on_revision,
        coalesce: None,
        after: route.after.clone(),
        dead,
    }
}

/// An update of a record: what waits of it gives way. One without record, or without order, has nothing to give way to.
fn coalesce(route: &Route, lane: Option<&String>, subject: &Subject<'_>) -> Option<Coalesce> {
    if !route.coalesce || lane.is_none() {
        return None;
    }
    subject.record?.id()?;
    Some(Coalesce { mark: route.stale_by.as_deref().and_then(|field| stale::mark_of(subject.record, field)) })
}

fn record_lane(subject: &Subject<'_>) -> Option<String> {
    subject.record.and_then(|record| record.id()).map(str::to_owned)
}

/// The key of a notification's lane; none: it keeps no order.
///
/// # Errors
/// Why the expression does not name one.
pub fn lane(lane: &Lane, subject: &Subject<'_>) -> Result<Option<String>, String> {
    let expression = match lane {
        Lane::None => return Ok(None),
        Lane::Record => return Ok(record_lane(subject)),
        Lane::Expression(expression) => expression,
    };
    let key = match expression.evaluate(subject).map_err(|error| error.to_string())? {
        Json::Null => return Ok(record_lane(subject)),
        Json::String(text) => text,
        Json::Number(number) => number.to_string(),
        Json::Bool(boolean) => boolean.to_string(),
        value @ (Json::Array(_) | Json::Object(_)) => {
            return Err(format!("expression `{expression}` gives {value}, and a lane is named by a single value"));
        }
    };
    if key.is_empty() {
        return Ok(record_lane(subject));
    }
    Ok(Some(bounded(key)))
}

fn bounded(key: String) -> String {
    if key.chars().count() <= LANE_LENGTH_MAX {
        return key;
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::envelope::{Field, NotificationId, Record, Value};
    use crate::expression::Tables;

    fn route(when: Option<&str>, lane: Lane, on_empty: OnEmpty) -> Route {
        Route {
            name: "r".to_owned(),
            destination: "d".to_owned(),
            system: "s".to_owned(),
            when: when.map(expression),
            lane,
            on_empty,
            deleted_when: None,
            on_deleted: OnEmpty::Deliver,
            on_revision: OnRevision::Deliver,
            coalesce: false,
            stale_by: None,
            after: None,
        }
    }

    #[test]
    fn a_record_that_says_that_it_was_deleted_goes_as_the_route_says_before_when_is_asked() {
        let asked = |rule: &str, deleted: &str, on_deleted, when| {
            let route =
                Route { deleted_when: Some(expression(rule)), on_deleted, ..route(when, Lane::Record, OnEmpty::Skip) };
            let fields = vec![
                Field { name: "Id".to_owned(), value: Value::Text("006".to_owned()) },
                Field { name: "Deleted".to_owned(), value: deleted_value(deleted) },
            ];
            let record = Record { record_type: "Order".to_owned(), fields, drift: Vec::new() };
            let subject = Subject {
                record: Some(&record),
                notification_id: "04l1",
                received_at: Timestamp(0),
                organization_id: "00D",
                action_id: "04k",
                enterprise_url: "",
                partner_url: "",
                source: "orders",
                after: None,
            };
            delivery(&route, false, &subject).ok().map(|made| made.planned.dead)
        };
        let dead =
            Some(Some("the record says that it was deleted, and the route says on_deleted = \"dead\"".to_owned()));
        for (deleted, on_deleted, when, expected) in [
            ("false", OnEmpty::Skip, None, Some(None)),
            ("false", OnEmpty::Dead, Some("false"), None),
            ("true", OnEmpty::Skip, None, None),
            ("true", OnEmpty::Deliver, None, Some(None)),
            ("true", OnEmpty::Deliver, Some("false"), None),
            ("true", OnEmpty::Dead, Some("false"), dead),
            ("", OnEmpty::Skip, None, Some(None)),
        ] {
            assert_eq!(
                asked("record.Deleted", deleted, on_deleted, when),
                expected,
                "{deleted} {on_deleted:?} {when:?}"
            );
        }
        let broken = asked("record.Deleted + 1 > 0", "3 apples", OnEmpty::Skip, None).flatten();
        assert!(broken.is_some_and(|reason| reason.contains("deciding `deleted_when`")));
    }

    fn deleted_value(text: &str) -> Value {
        match text {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            "" => Value::Null,
            other => Value::Text(other.to_owned()),
        }
    }

    #[test]
    fn an_update_coalesces_where_the_route_says_so_and_there_is_an_order() {
        let record = Record {
            record_type: "Order".to_owned(),
            fields: vec![
                Field { name: "Id".to_owned(), value: Value::Text("006".to_owned()) },
                Field { name: "Changed".to_owned(), value: Value::Text(" 2026-01-01 ".to_owned()) },
            ],
            drift: Vec::new(),
        };
        let id = NotificationId::parse("04l1").unwrap();
        let notification = Notification { content: Content::Record { id, record, xml: String::new() }, hash: [0; 32] };
        let planned = |route: Route| {
            let subject = Subject {
                record: notification.record(),
                notification_id: "04l1",
                received_at: Timestamp(0),
                organization_id: "00D",
                action_id: "04k",
                enterprise_url: "",
                partner_url: "",
                source: "orders",
                after: None,
            };
            deliveries(&[route], &notification, &subject).pop().unwrap().coalesce
        };
        let plain = || route(None, Lane::Record, OnEmpty::Skip);
        assert_eq!(planned(plain()), None);
        assert_eq!(planned(Route { coalesce: true, ..plain() }), Some(Coalesce { mark: None }));
        let marked = Route { coalesce: true, stale_by: Some("Changed".to_owned()), ..plain() };
        assert_eq!(planned(marked), Some(Coalesce { mark: Some("2026-01-01".to_owned()) }));
        assert_eq!(planned(Route { coalesce: true, lane: Lane::None, ..plain() }), None);
    }

    fn expression(source: &str) -> Expression {
        Expression::compile(source, &Tables::default()).unwrap()
    }

    fn by(source: &str) -> Lane {
        Lane::Expression(expression(source))
    }

    fn plan(route: Route, fields: Option<&[(&str, &str)]>) -> Option<Planned> {
        Some(made(&route, fields)?.planned)
    }

    fn made(route: &Route, fields: Option<&[(&str, &str)]>) -> Option<Made> {
        let record = fields.map(|fields| Record {
            record_type: "Account".to_owned(),
            fields: fields
                .iter()
                .map(|(name, text)| Field { name: (*name).to_owned(), value: Value::Text((*text).to_owned()) })
                .collect(),
            drift: Vec::new(),
        });
        let subject = Subject {
            record: record.as_ref(),
            notification_id: "04l1",
            received_at: Timestamp(0),
            organization_id: "00D1",
            action_id: "04k1",
            enterprise_url: "",
            partner_url: "",
            source: "s",
            after: None,
        };
        delivery(route, record.is_none(), &subject).ok()
    }

    const ONE: Option<&[(&str, &str)]> = Some(&[("Id", "001A"), ("Stage", "Won"), ("Account", "001B"), ("Empty", "")]);

    #[test]
    fn a_route_takes_what_its_condition_holds_for() {
        for (when, taken) in [
            (None, true),
            (Some("record.Stage == 'Won'"), true),
            (Some("record.Stage == 'Lost'"), false),
            (Some("record.Absent"), false),
            (Some("record.Absent == none"), true),
            (Some("source == 's' and notification.id is startingwith '04l'"), true),
        ] {
            assert_eq!(plan(route(when, Lane::Record, OnEmpty::Skip), ONE).is_some(), taken, "{when:?}");
        }
    }

    #[test]
    fn the_lane_is_the_value_of_its_expression_or_the_record() {
        for (lane, key) in [
            (Lane::Record, Some("001A")),
            (Lane::None, None),
            (by("record.Account"), Some("001B")),
            (by("record.Absent"), Some("001A")),
            (by("record.Empty"), Some("001A")),
            (by("1 + 1"), Some("2")),
            (by("record.Stage == 'Won'"), Some("true")),
        ] {
            let planned = plan(route(None, lane, OnEmpty::Skip), ONE).unwrap();
            assert_eq!((planned.lane.as_deref(), planned.dead), (key, None));
        }
        let without_id = plan(route(None, Lane::Record, OnEmpty::Skip), Some(&[])).unwrap();
        assert_eq!(without_id.lane, None);
    }

    #[test]
    fn a_very_long_lane_is_named_by_its_digest() {
        let long = "x".repeat(256);
        let key =
            |text: &str| plan(route(None, by("record.T"), OnEmpty::Skip), Some(&[("T", text)])).unwrap().lane.unwrap();
        assert_eq!(key(&"ä".repeat(255)), "ä".repeat(255));
        assert!(key(&long).starts_with("sha256:") && key(&long).len() == 71);
        assert_ne!(key(&long), key(&"y".repeat(256)));
    }

    #[test]
    fn an_error_makes_a_dead_delivery_and_never_a_silent_no_match() {
        for (when, lane, reason) in [
            (Some("record.Stage > 5"), Lane::Record, "deciding `when`: expression `record.Stage > 5`: cannot compare"),
            (None, by("record.Stage * 2"), "finding `lane`: expression `record.Stage * 2`: cannot calculate"),
            (None, by("[1, 2]"), "a lane is named by a single value"),
        ] {
            let Made { planned, is_undecided } = made(&route(when, lane, OnEmpty::Skip), ONE).unwrap();
            assert!(planned.dead.as_deref().unwrap().contains(reason), "{:?}", planned.dead);
            assert_eq!(is_undecided, when.is_some());
            assert_eq!(planned.lane.as_deref(), Some("001A"));
        }
    }

    #[test]
    fn a_notification_without_record_follows_on_empty_before_when() {
        assert_eq!(plan(route(None, Lane::Record, OnEmpty::Skip), None), None);
        let dead = plan(route(Some("false"), Lane::Record, OnEmpty::Dead), None).unwrap();
        assert!(dead.dead.unwrap().contains("on_empty"));
        for when in ["record.Stage == 'Won'", "record.Stage > 5", "false"] {
            let delivered = plan(route(Some(when), Lane::Record, OnEmpty::Deliver), None).unwrap();
            assert_eq!((delivered.lane, delivered.dead), (None, None), "{when} is not asked");
        }
        assert_eq!(plan(route(Some("true"), Lane::Record, OnEmpty::Skip), None), None);
    }

    #[test]
    fn an_unreadable_notification_goes_nowhere() {
        let content = Content::Unreadable { xml: String::new(), reason: String::new() };
        let record = None;
        let subject = Subject {
            record,
            notification_id: "",
            received_at: Timestamp(0),
            organization_id: "",
            action_id: "",
            enterprise_url: "",
            partner_url: "",
            source: "",
            after: None,
        };
        let all = [route(None, Lane::Record, OnEmpty::Dead)];
        assert!(deliveries(&all, &Notification { content, hash: [0; 32] }, &subject).is_empty());
    }
}
