//! What another configuration would make other of stored notifications: by route and place with a few examples of each, and
//! of the first ones message by message.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::call::Call;
use crate::fields::{self, Fields};
use crate::map::MapError;
use crate::masking::{Masking, Masks};
use crate::preview::{Made, Making, Side};
use crate::secret::Mask;
use crate::store::{NotificationView, StoredNotification};

/// How many examples of a difference are kept.
const EXAMPLES: usize = 3;
/// How many differences of a route are told apart; more are counted together.
const GROUPS_MAX: usize = 500;
/// How many differences of one message on one route are shown.
const OF_ONE_MAX: usize = 40;
/// How much of a value is shown, in characters.
const VALUE_MAX: usize = 120;

/// Where a difference is; in the order in which they are shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A delivery that is not made now.
    Made,
    /// A delivery that would not be made any more.
    NotMade,
    /// No call could be made any more, because of what is at this path.
    Fails(String),
    /// A call could be made where none can now.
    Mended(String),
    /// No call can be made now and none could, for another reason, which is about this path.
    StillFails(String),
    Destination,
    Lane,
    /// Method and address.
    Line,
    Header(String),
    Field(String),
    /// A body that cannot be taken apart, or the same values written otherwise.
    Body,
    /// More than are told apart.
    Others,
}

impl Place {
    fn words(&self) -> String {
        match self {
            Self::Made => "would be made".to_owned(),
            Self::NotMade => "would not be made any more".to_owned(),
            Self::Fails(path) => format!("would fail at {path}"),
            Self::Mended(path) => format!("would not fail any more at {path}"),
            Self::StillFails(path) => format!("fails as it does now, for another reason, at {path}"),
            Self::Destination => "destination".to_owned(),
            Self::Lane => "lane".to_owned(),
            Self::Line => "request line".to_owned(),
            Self::Header(name) => format!("header {name}"),
            Self::Field(path) => format!("field {path}"),
            Self::Body => "body".to_owned(),
            Self::Others => "more differences, not told apart".to_owned(),
        }
    }

    /// A word for programs, and the name or path that belongs to it.
    fn code(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Made => ("made", None),
            Self::NotMade => ("not_made", None),
            Self::Fails(path) => ("fails", Some(path)),
            Self::Mended(path) => ("mended", Some(path)),
            Self::StillFails(path) => ("still_failing", Some(path)),
            Self::Destination => ("destination", None),
            Self::Lane => ("lane", None),
            Self::Line => ("line", None),
            Self::Header(name) => ("header", Some(name)),
            Self::Field(path) => ("field", Some(path)),
            Self::Body => ("body", None),
            Self::Others => ("others", None),
        }
    }
}

#[derive(Default)]
struct Group {
    count: u64,
    examples: Vec<Example>,
}

struct Example {
    notification: String,
    old: Option<String>,
    new: Option<String>,
}

#[derive(Default)]
struct RouteReport {
    same: u64,
    differ: u64,
    groups: BTreeMap<Place, Group>,
}

/// What is told of one side of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// In words of ours, such as why there is no call.
    Words(String),
    /// What stands there.
    Value(String),
}

/// It less what its source masks.
fn hide(masking: Option<&Masking>, place: &Place, record_id: &str, told: Told) -> String {
    let (masking, value) = match (masking, told) {
        (None, Told::Words(text) | Told::Value(text)) => return text,
        (Some(masking), Told::Words(reason)) => return masking.hide(&reason),
        (Some(masking), Told::Value(value)) => (masking, value),
    };
    match place {
        Place::Field(path) => masking.hide_at(path, &value),
        Place::Header(name) => masking.hide_header(name, &value),
        Place::Lane => masking.hide_lane(&value, record_id),
        Place::Destination => masking.hide(&value),
        Place::Made
        | Place::NotMade
        | Place::Fails(_)
        | Place::Mended(_)
        | Place::StillFails(_)
        | Place::Line
        | Place::Body
        | Place::Others => masking.hide_call(&value),
    }
}

/// How many notifications there are of each kind; one may be of several.
#[derive(Default)]
struct Counts {
    /// Their deliveries would be made, and their calls be others.
    changed: u64,
    /// A call could not be made any more, or a new delivery could have none.
    failing: u64,
    mended: u64,
    /// A call can be made neither now nor then, for the same reason or another.
    still_failing: u64,
    routed: u64,
    not_routed: u64,
}

impl Counts {
    fn add(&mut self, routes: &BTreeMap<&String, Vec<Difference>>, is_failing: bool) {
        let has = |fits: &dyn Fn(&Place) -> bool| u64::from(routes.values().flatten().any(|(place, ..)| fits(place)));
        self.failing += u64::from(is_failing);
        self.mended += has(&|place| matches!(place, Place::Mended(_)));
        self.routed += has(&|place| *place == Place::Made);
        self.not_routed += has(&|place| *place == Place::NotMade);
        let is_another = |place: &Place| match place {
            Place::Fails(_) | Place::Mended(_) | Place::StillFails(_) | Place::Made | Place::NotMade => false,
            Place::Destination
            | Place::Lane
            | Place::Line
            | Place::Header(_)
            | Place::Field(_)
            | Place::Body
            | Place::Others => true,
        };
        self.changed += has(&is_another);
    }
}

/// All of it.
pub struct Report {
    version: i64,
    mask: Mask,
    masks: Masks,
    looked_at: u64,
    skipped: u64,
    /// Notifications whose records are not in the store any more.
    pruned: u64,
    /// Notifications of which something would be another.
    differ: u64,
    counts: Counts,
    routes: BTreeMap<String, RouteReport>,
    messages: Vec<Value>,
    messages_max: usize,
}

impl Report {
    /// Of a configuration against that of a version, whose secrets and fields are hidden.
    #[must_use]
    pub fn new(version: i64, mask: &Mask, masks: Masks) -> Self {
        Self {
            version,
            mask: mask.clone(),
            masks,
            looked_at: 0,
            skipped: 0,
            pruned: 0,
            differ: 0,
            counts: Counts::default(),
            routes: BTreeMap::new(),
            messages: Vec::new(),
            messages_max: 0,
        }
    }

    /// With the first messages of which something would be another, one by one.
    #[must_use]
    pub fn with_messages(self, most: usize) -> Self {
        Self { messages_max: most, ..self }
    }

    /// Whether nothing would be another.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.differ == 0
    }

    /// Compares what the configuration in force and the new one make of a notification.
    pub fn look(&mut self, view: &NotificationView, (old, new): (&Side<'_>, &Side<'_>)) {
        self.looked_at += 1;
        if matches!(view.kind.as_str(), "unreadable" | "quarantined") {
            // No configuration routes them.
            self.skipped += 1;
            return;
        }
        let notification = &view.notification;
        if notification.is_pruned() {
            self.pruned += 1;
            return;
        }
        let (before, after) = (old.make(notification), new.make(notification));
        let (mut is_failing, mut fails_still) = (false, false);
        let mut others = BTreeMap::new();
        let names: BTreeSet<&String> = before.routes.keys().chain(after.routes.keys()).collect();
        for route in names {
            let made = (before.routes.get(route), after.routes.get(route));
            let differences = match made {
                (Some(one), Some(other)) => compare(one, other),
                (Some(_), None) => vec![(Place::NotMade, None, Some(Told::Words(why_not(route, &after, new))))],
                (None, Some(made)) => vec![made_anew(route, &before, old, made)],
                (None, None) => Vec::new(),
            };
            let (could, can) =
                (made.0.is_none_or(|made| made.call.is_ok()), made.1.is_none_or(|made| made.call.is_ok()));
            is_failing |= could && !can;
            fails_still |= !could && !can;
            if differences.is_empty() {
                self.routes.entry(route.clone()).or_default().same += 1;
            } else {
                others.insert(route, differences);
            }
        }
        self.counts.still_failing += u64::from(fails_still);
        if others.is_empty() {
            return;
        }
        self.differ += 1;
        self.counts.add(&others, is_failing);
        let told = others.into_iter().map(|(route, differences)| self.add(route, notification, differences));
        let told: Vec<Value> = told.collect();
        if self.messages.len() < self.messages_max {
            self.messages.push(json!({
                "row": notification.row, "notification_id": notification.notification_id,
                "revision": notification.revision, "source": notification.source,
                "record_type": notification.record_type, "record_id": notification.record_id,
                "received_at": notification.received_at, "routes": told,
            }));
        }
    }

    /// Counts the differences of one notification on one route; they as they are shown.
    fn add(&mut self, route: &str, notification: &StoredNotification, differences: Vec<Difference>) -> Value {
        let report = self.routes.entry(route.to_owned()).or_default();
        report.differ += 1;
        let masking = self.masks.of_call(&notification.source, route, &notification.xml);
        let name = format!("{} revision {}", notification.notification_id, notification.revision);
        let more = differences.len().saturating_sub(OF_ONE_MAX);
        let mut told = Vec::new();
        for (place, old, new) in differences {
            let show = |told: Option<Told>| {
                let shown = told.map(|told| hide(masking.as_ref(), &place, &notification.record_id, told));
                shown.map(|value| cut(&self.mask.apply(&value)))
            };
            let (old, new) = (show(old), show(new));
            if self.messages_max > 0 && told.len() < OF_ONE_MAX {
                let (kind, path) = place.code();
                told.push(json!({"kind": kind, "path": path, "words": place.words(), "old": old, "new": new}));
            }
            let is_known = report.groups.contains_key(&place);
            let place = if is_known || report.groups.len() < GROUPS_MAX { place } else { Place::Others };
            let group = report.groups.entry(place).or_default();
            group.count += 1;
            if group.examples.len() < EXAMPLES {
                group.examples.push(Example { notification: name.clone(), old, new });
            }
        }
        json!({"route": route, "differences": told, "more": more})
    }

    /// As programs, pages and the command line read it.
    #[must_use]
    pub fn json(&self) -> Value {
        let group = |(place, group): (&Place, &Group)| {
            let examples = group
                .examples
                .iter()
                .map(|example| json!({"notification": example.notification, "old": example.old, "new": example.new}));
            let (kind, path) = place.code();
            let examples: Vec<Value> = examples.collect();
            json!({"kind": kind, "path": path, "words": place.words(), "count": group.count, "examples": examples})
        };
        let route = |(name, route): (&String, &RouteReport)| {
            let differences: Vec<Value> = route.groups.iter().map(group).collect();
            json!({"route": name, "same": route.same, "differ": route.differ, "differences": differences})
        };
        let Counts { changed, failing, mended, still_failing, routed, not_routed } = self.counts;
        let same = self.looked_at - self.skipped - self.pruned - self.differ;
        json!({
            "against": self.version,
            "looked_at": self.looked_at,
            "skipped": self.skipped,
            "pruned": self.pruned,
            "differ": self.differ,
            "counts": {
                "same": same, "changed": changed, "failing": failing, "mended": mended,
                "still_failing": still_failing, "routed": routed, "not_routed": not_routed,
            },
            "routes": self.routes.iter().map(route).collect::<Vec<_>>(),
        })
    }

    /// The first messages of which something would be another.
    #[must_use]
    pub fn messages(&self) -> &[Value] {
        &self.messages
    }
}

/// What is another: where, what it is now, what it would be.
type Difference = (Place, Option<Told>, Option<Told>);

/// Why a route makes no delivery of a notification.
fn why_not(route: &str, making: &Making, side: &Side<'_>) -> String {
    match &making.refused {
        Some(reason) => reason.clone(),
        None if !side.has_route(route) => "there is no such route".to_owned(),
        None => "the route does not take it".to_owned(),
    }
}

fn made_anew(route: &str, before: &Making, old: &Side<'_>, made: &Made) -> Difference {
    let none = Some(Told::Words(why_not(route, before, old)));
    match &made.call {
        Ok(call) => (Place::Made, none, line(call)),
        Err(error) => (Place::Fails(cut(&error.place)), none, words(error)),
    }
}

fn words(error: &MapError) -> Option<Told> {
    Some(Told::Words(error.reason.clone()))
}

fn line(call: &Call) -> Option<Told> {
    Some(Told::Value(format!("{} {}", call.method, call.url.masked())))
}

/// Whether two reasons say the same: the expressions that they quote may be others.
fn say_the_same(one: &MapError, other: &MapError) -> bool {
    let parts = |error: &MapError| {
        let parts = error.reason.split('`').enumerate();
        parts.filter(|(place, _)| place % 2 == 0).map(|(_, part)| part.to_owned()).collect::<Vec<_>>()
    };
    one.place == other.place && parts(one) == parts(other)
}

fn compare(old: &Made, new: &Made) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ = |place: Place, old: Option<Told>, new: Option<Told>| {
        if old != new {
            differences.push((place, old, new));
        }
    };
    let value = |text: &String| Some(Told::Value(text.clone()));
    differ(Place::Destination, value(&old.destination), value(&new.destination));
    let lane = |made: &Made| made.lane.as_ref().map_or_else(|| Some(Told::Words("none".to_owned())), value);
    differ(Place::Lane, lane(old), lane(new));
    match (&old.call, &new.call) {
        (Ok(one), Ok(other)) => {
            differ(Place::Line, line(one), line(other));
            differences.extend(headers(one, other));
            differences.extend(bodies(one, other));
        }
        (Ok(call), Err(error)) => differ(Place::Fails(cut(&error.place)), line(call), words(error)),
        (Err(error), Ok(call)) => differ(Place::Mended(cut(&error.place)), words(error), line(call)),
        (Err(one), Err(other)) if say_the_same(one, other) => {}
        (Err(one), Err(other)) => differ(Place::StillFails(cut(&other.place)), words(one), words(other)),
    }
    differences
}

fn headers(old: &Call, new: &Call) -> Vec<Difference> {
    let gather = |call: &Call| {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &call.headers {
            let values = headers.entry(name.to_ascii_lowercase()).or_default();
            if !values.is_empty() {
                values.push_str(", ");
            }
            values.push_str(&value.masked());
        }
        headers
    };
    each(&gather(old), &gather(new), Place::Header)
}

/// The differences of two maps of values.
fn each(old: &Fields, new: &Fields, place: impl Fn(String) -> Place) -> Vec<Difference> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs = |name: &&String| old.get(*name) != new.get(*name);
    let value = |fields: &Fields, name: &String| fields.get(name).cloned().map(Told::Value);
    let difference = |name: &String| (place(name.clone()), value(old, name), value(new, name));
    names.into_iter().filter(differs).map(difference).collect()
}

fn bodies(old: &Call, new: &Call) -> Vec<Difference> {
    if old.body == new.body {
        return Vec::new();
    }
    let text = |call: &Call| String::from_utf8_lossy(&call.body).into_owned();
    let apart = |call: &Call| fields::of(&content_type(call), &text(call));
    let differences = match (apart(old), apart(new)) {
        (Some(one), Some(other)) => each(&one, &other, Place::Field),
        _ => vec![(Place::Body, Some(Told::Value(text(old))), Some(Told::Value(text(new))))],
    };
    if differences.is_empty() {
        let same = "the same values, written otherwise".to_owned();
        return vec![(Place::Body, None, Some(Told::Words(same)))];
    }
    differences
}

fn content_type(call: &Call) -> String {
    let named = call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    named.map(|(_, value)| value.masked()).unwrap_or_default()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}
