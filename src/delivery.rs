//! One notification on its way along one route: its id, its state, what is known of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The store's id of a delivery. Ids rise within a lane: the id is the delivery's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct DeliveryId(pub i64);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stored configuration; what a delivery was mapped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct ConfigVersion(pub i64);

/// The right to complete one attempt. A settlement under any other lease is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lease(pub i64);

/// Where a delivery stands. Exactly one of these at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Due now or later.
    Waiting,
    /// Behind another delivery of its lane.
    Blocked,
    /// Leased: a call is being made.
    InFlight,
    /// Taken by its destination.
    Delivered,
    /// Gave up or was refused; waits for a person.
    Dead,
    /// Stopped by a person, or because its outcome is unknown and the destination says `hold`.
    Held,
    /// A newer state of the record took its place.
    Superseded,
    /// Given up by a person, with a reason.
    Discarded,
}

impl State {
    /// Every state, in the ledger's order.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Blocked,
        Self::InFlight,
        Self::Held,
        Self::Delivered,
        Self::Dead,
        Self::Superseded,
        Self::Discarded,
    ];

    /// The word for it in the store, the API and the logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::InFlight => "in_flight",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Held => "held",
            Self::Superseded => "superseded",
            Self::Discarded => "discarded",
        }
    }
}

/// As people read it; [`State::as_str`] is for programs.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::InFlight { "in flight" } else { self.as_str() })
    }
}

/// States less like a wrong one are not proposed.
const ALIKE_MIN: f64 = 0.75;

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let likeness = |state: &Self| strsim::jaro_winkler(text, state.as_str());
            let near = Self::ALL.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
            match near.filter(|near| likeness(near) >= ALIKE_MIN) {
                Some(near) => format!("there is no such state; did you mean {:?}?", near.as_str()),
                None => format!("there is no such state; there are {}", Self::ALL.map(Self::as_str).join(", ")),
            }
        })
    }
}

/// What a route does with a revised notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRevision {
    /// The new state of the record is delivered.
    #[default]
    Deliver,
    /// The revision is stored and changes nothing.
    Ignore,
}

/// How a delivery takes the place of what waits before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coalesce {
    /// The record's value of the route's `stale_by`: what waits and is newer stays, and the new one gives way.
    pub mark: Option<String>,
}

/// What a delivery needs before it may go out: another route's delivery of the same notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// That route's name.
    pub route: String,
    /// Whether the lane stops behind the delivery when it dies because that one will not be delivered.
    pub holds_lane: bool,
}

/// A delivery as routing decided it, before the store gives it an id and its place in the lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The route's name.
    pub route: String,
    /// The destination's name.
    pub destination: String,
    /// The system whose lane it enters.
    pub system: String,
    /// The lane's key within the system; none for no order.
    pub lane: Option<String>,
    /// What the route does when the notification comes again with other content.
    pub on_revision: OnRevision,
    /// Set when what waits of the same record on this route gives way to it.
    pub coalesce: Option<Coalesce>,
    /// Set when it waits for another route's delivery of the same notification, which is planned before it.
    pub after: Option<After>,
    /// Set when routing already knows that it cannot be delivered (an error in `when` or `lane`, `on_empty = "dead"`):
    /// it is stored as a dead letter with this reason.
    pub dead: Option<String>,
}
