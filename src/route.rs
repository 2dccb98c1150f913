//! Which deliveries a notification becomes, and in which lanes. Pure.

use crate::delivery::{OnRevision, Planned};
use crate::envelope::Notification;
use crate::expression::{Expression, Subject};

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
    /// What happens to a revision.
    pub on_revision: OnRevision,
}

/// What must keep its order.
#[derive(Clone, Debug)]
pub enum Lane {
    /// The changes of one record: the default.
    Record,
    /// Nothing.
    None,
    /// What has the same value; none falls back to the record's Id.
    Expression(Expression),
}

/// What a route does with a notification without sObject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnEmpty {
    /// Nothing.
    #[default]
    Skip,
    /// It is delivered like any other (`when` is asked, every field is none).
    Deliver,
    /// It becomes a dead letter.
    Dead,
}

/// The deliveries that a notification becomes. An unreadable one becomes none.
#[must_use]
pub fn deliveries(_routes: &[Route], _notification: &Notification, _subject: &Subject<'_>) -> Vec<Planned> {
    unimplemented!()
}
