//! What would be another, by route and place, with a few examples of each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::call::Call;
use crate::cli::print;
use crate::fields::{self, Fields};
use crate::masking::{HIDDEN, Masking, Masks};
use crate::preview::{Made, Making, Side};
use crate::secret::Mask;
use crate::store::{NotificationView, StoredNotification};

/// How many examples of a difference are kept.
const EXAMPLES: usize = 3;
/// How many differences of a route are told apart; more are counted together.
const GROUPS_MAX: usize = 500;
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

/// A value less what its source masks.
fn hide(masking: &Masking, place: &Place, value: &str) -> String {
    match place {
        Place::Field(path) => {
            let name = path.rsplit(['.', '/', '@']).next().unwrap_or_default().split('[').next().unwrap_or_default();
            masking.hide_value(name, &Value::from(value)).as_str().unwrap_or(HIDDEN).to_owned()
        }
        Place::Line | Place::Header(_) | Place::Body | Place::Others => masking.hide_call(value),
        Place::Made | Place::NotMade | Place::Fails(_) | Place::Mended(_) | Place::Destination | Place::Lane => {
            masking.hide(value)
        }
    }
}

/// All of it.
pub(super) struct Report {
    version: i64,
    mask: Mask,
    masks: Masks,
    looked_at: u64,
    skipped: u64,
    /// Notifications of which something would be another.
    differ: u64,
    routes: BTreeMap<String, RouteReport>,
}

impl Report {
    pub(super) fn new(version: i64, mask: &Mask, masks: Masks) -> Self {
        Self { version, mask: mask.clone(), masks, looked_at: 0, skipped: 0, differ: 0, routes: BTreeMap::new() }
    }

    /// Whether nothing would be another.
    pub(super) fn is_empty(&self) -> bool {
        self.differ == 0
    }

    /// Compares what the configuration in force and the new one make of a notification.
    pub(super) fn look(&mut self, view: &NotificationView, (old, new): (&Side<'_>, &Side<'_>)) {
        self.looked_at += 1;
        if matches!(view.kind.as_str(), "unreadable" | "quarantined") {
            // No configuration routes them.
            self.skipped += 1;
            return;
        }
        let notification = &view.notification;
        let (before, after) = (old.make(notification), new.make(notification));
        let mut is_other = false;
        let names: Vec<&String> = before.routes.keys().chain(after.routes.keys()).collect();
        let names: std::collections::BTreeSet<&String> = names.into_iter().collect();
        for route in names {
            let differences = match (before.routes.get(route), after.routes.get(route)) {
                (Some(one), Some(other)) => compare(one, other),
                (Some(_), None) => vec![(Place::NotMade, None, Some(why_not(route, &after, new)))],
                (None, Some(made)) => vec![made_anew(route, &before, old, made)],
                (None, None) => Vec::new(),
            };
            is_other |= !differences.is_empty();
            self.add(route, notification, differences);
        }
        self.differ += u64::from(is_other);
    }

    fn add(&mut self, route: &str, notification: &StoredNotification, differences: Vec<Difference>) {
        let report = self.routes.entry(route.to_owned()).or_default();
        if differences.is_empty() {
            report.same += 1;
            return;
        }
        report.differ += 1;
        let masking = self.masks.of_call(&notification.source, route, &notification.xml);
        for (place, old, new) in differences {
            let is_known = report.groups.contains_key(&place);
            let place = if is_known || report.groups.len() < GROUPS_MAX { place } else { Place::Others };
            let group = report.groups.entry(place.clone()).or_default();
            group.count += 1;
            if group.examples.len() < EXAMPLES {
                let masked =
                    |value: String| masking.as_ref().map_or(value.clone(), |masking| hide(masking, &place, &value));
                let show = |value: Option<String>| value.map(|value| cut(&self.mask.apply(&masked(value))));
                let name = format!("{} revision {}", notification.notification_id, notification.revision);
                group.examples.push(Example { notification: name, old: show(old), new: show(new) });
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        let group = |(place, group): (&Place, &Group)| {
            let examples = group
                .examples
                .iter()
                .map(|example| json!({"notification": example.notification, "old": example.old, "new": example.new}));
            let (kind, path) = place.code();
            json!({"kind": kind, "path": path, "count": group.count, "examples": examples.collect::<Vec<_>>()})
        };
        let route = |(name, route): (&String, &RouteReport)| {
            let differences: Vec<Value> = route.groups.iter().map(group).collect();
            json!({"route": name, "same": route.same, "differ": route.differ, "differences": differences})
        };
        json!({
            "against": self.version,
            "looked_at": self.looked_at,
            "skipped": self.skipped,
            "differ": self.differ,
            "routes": self.routes.iter().map(route).collect::<Vec<_>>(),
        })
    }

    pub(super) fn text(&self, new: &str) -> String {
        let Self { version, looked_at, skipped, differ, .. } = self;
        let mut text = format!("{new} against configuration {version}, which is in force\n");
        let skipped = match skipped {
            0 => String::new(),
            count => format!(", of which {count} are unreadable or quarantined and go nowhere"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{looked_at} notifications looked at{skipped}");
        for (name, route) in &self.routes {
            let _ = writeln!(text, "\nroute {name}: {} as now, {} not", route.same, route.differ);
            for (place, group) in &route.groups {
                let _ = writeln!(text, "  {} ({})", place.words(), group.count);
                for example in &group.examples {
                    let _ = writeln!(text, "    {}", example.line(place));
                }
            }
        }
        let _ = match differ {
            0 => writeln!(text, "\nnothing would be another than it is"),
            count => writeln!(text, "\nof {count} notifications something would be another than it is"),
        };
        text
    }
}

impl Example {
    fn line(&self, place: &Place) -> String {
        let clean = |text: &Option<String>| match text.as_deref() {
            None => "(none)".to_owned(),
            Some("") => "(empty)".to_owned(),
            Some(text) => print::cell(Some(&Value::String(text.replace('\n', "\\n")))),
        };
        let name = &self.notification;
        match place {
            Place::NotMade => format!("{name}: {}", clean(&self.new)),
            Place::Others => name.clone(),
            Place::Made
            | Place::Fails(_)
            | Place::Mended(_)
            | Place::Destination
            | Place::Lane
            | Place::Line
            | Place::Header(_)
            | Place::Field(_)
            | Place::Body => format!("{name}: {} → {}", clean(&self.old), clean(&self.new)),
        }
    }
}

/// What is another: where, what it is now, what it would be.
type Difference = (Place, Option<String>, Option<String>);

/// Why a route makes no delivery of a notification.
fn why_not(route: &str, making: &Making, side: &Side<'_>) -> String {
    match &making.refused {
        Some(reason) => reason.clone(),
        None if !side.has_route(route) => "there is no such route".to_owned(),
        None => "the route does not take it".to_owned(),
    }
}

fn made_anew(route: &str, before: &Making, old: &Side<'_>, made: &Made) -> Difference {
    match &made.call {
        Ok(call) => (Place::Made, Some(why_not(route, before, old)), Some(line(call))),
        Err(reason) => (Place::Fails(path_of(reason)), Some(why_not(route, before, old)), Some(reason.clone())),
    }
}

/// What a reason begins with: the place that it is about, without the value there, so that one fault is one difference.
fn path_of(reason: &str) -> String {
    let end = [": ", " = "].iter().filter_map(|sign| reason.find(sign)).min().unwrap_or(reason.len());
    cut(reason.get(..end).unwrap_or(reason))
}

fn line(call: &Call) -> String {
    format!("{} {}", call.method, call.url.masked())
}

fn compare(old: &Made, new: &Made) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ = |place: Place, old: Option<String>, new: Option<String>| {
        if old != new {
            differences.push((place, old, new));
        }
    };
    differ(Place::Destination, Some(old.destination.clone()), Some(new.destination.clone()));
    let lane = |made: &Made| Some(made.lane.clone().unwrap_or_else(|| "none".to_owned()));
    differ(Place::Lane, lane(old), lane(new));
    match (&old.call, &new.call) {
        (Ok(one), Ok(other)) => {
            differ(Place::Line, Some(line(one)), Some(line(other)));
            differences.extend(headers(one, other));
            differences.extend(bodies(one, other));
        }
        (Ok(call), Err(reason)) => differ(Place::Fails(path_of(reason)), Some(line(call)), Some(reason.clone())),
        (Err(reason), Ok(call)) => differ(Place::Mended(path_of(reason)), Some(reason.clone()), Some(line(call))),
        (Err(one), Err(other)) => differ(Place::Fails(path_of(other)), Some(one.clone()), Some(other.clone())),
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
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs = |name: &&String| old.get(*name) != new.get(*name);
    let difference = |name: &String| (place(name.clone()), old.get(name).cloned(), new.get(name).cloned());
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
        _ => vec![(Place::Body, Some(text(old)), Some(text(new)))],
    };
    if differences.is_empty() {
        let same = "the same values, written otherwise".to_owned();
        return vec![(Place::Body, None, Some(same))];
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
