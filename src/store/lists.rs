//! Lists: how long they are, in which order they stand, what a filter asks for, and by which way that is found.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::{BEHIND_MAX, DeliveryFilter, DeliveryView, LaneView, NotificationFilter};
use crate::clock::Timestamp;
use crate::delivery::State;

use serde::de::{Deserialize, Deserializer, Error};

/// The length of a list when none is asked for.
pub(super) const LIST_DEFAULT: u32 = 100;

/// The longest list.
pub const LIST_MAX: u32 = 1_000;

/// What notifications may be asked for by: what one was when it came first, or that it is a later revision.
pub const NOTIFICATION_KINDS: [&str; 6] =
    ["routed", "unrouted", "skipped_empty", "unreadable", "quarantined", "revised"];

/// The kinds of notifications that are few, which an index of their own finds.
const ODD_KINDS: [&str; 3] = ["unrouted", "unreadable", "quarantined"];

/// How many of a list are given.
pub(super) fn length(asked: Option<u32>) -> u32 {
    asked.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX)
}

/// A state that is asked for; in words when there is no such one.
pub(super) fn state<'de, D: Deserializer<'de>>(asked: D) -> Result<Option<State>, D::Error> {
    let text = Option::<String>::deserialize(asked)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// What was kept of an answer, as it is asked for: `name=value`, or `name` for any single value.
pub(super) fn kept(asked: &str) -> (&str, Option<&str>) {
    asked.split_once('=').map_or((asked, None), |(name, value)| (name, Some(value)))
}

/// How much of a field is kept to find its notification by, in bytes.
const SEARCHABLE_MAX: usize = 256;

/// What of a field's text is kept to find its notification by: without blanks around it, which nobody types again.
#[must_use]
pub fn searchable(text: &str) -> &str {
    let text = text.trim();
    text.get(..text.floor_char_boundary(SEARCHABLE_MAX)).unwrap_or(text)
}

/// What is searched for in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought<'q> {
    /// Any value.
    Any,
    /// This one.
    Whole(&'q str),
    /// All that begin so.
    Beginning(&'q str),
}

/// A field, and what is searched for in it: `name=value`, `name=beginning*`, or `name` for any value.
pub(super) fn sought(asked: &str) -> (&str, Sought<'_>) {
    let Some((name, value)) = asked.split_once('=') else { return (asked, Sought::Any) };
    let name = name.trim();
    match value.trim_end().strip_suffix('*') {
        Some(beginning) => (name, Sought::Beginning(searchable(beginning))),
        None => (name, Sought::Whole(searchable(value))),
    }
}

/// Whether the fields of a notification hold what is searched for.
#[must_use]
pub fn is_found_by(fields: &BTreeMap<String, String>, asked: &str) -> bool {
    let (name, sought) = sought(asked);
    fields.get(name).is_some_and(|value| match sought {
        Sought::Any => true,
        Sought::Whole(text) => value == text,
        Sought::Beginning(text) => value.starts_with(text),
    })
}

/// Whether a kind of notifications is one of the odd ones.
pub(super) fn is_odd(kind: &str) -> bool {
    ODD_KINDS.contains(&kind)
}

/// How many deliveries one question looks at where no index leads to what it asks for.
pub(super) const LOOK_MAX: usize = 20_000;
/// The same of notifications, whose rows are long.
pub(super) const LOOK_LONG_MAX: usize = 5_000;

/// How many lanes one question looks at.
pub(super) const LOOK_LANES_MAX: usize = 5_000;

/// Of each way at least so many, so that a page is not cut into slivers where there are very many ways.
const SHARE_MIN: usize = 50;

/// Ids rise with the moments at which rows were made, give or take so much: what waits for its commit is late, and the clocks
/// of gateways differ.
const OUT_OF_ORDER: Duration = Duration::from_secs(300);

/// What counts of an organization's id, in characters.
const ORGANIZATION_KEY: usize = 15;

/// What counts of an organization's id.
pub(super) fn organization_key(id: &str) -> &str {
    let id = id.trim();
    id.char_indices().nth(ORGANIZATION_KEY).map_or(id, |(at, _)| id.get(..at).unwrap_or(id))
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Behind which id it goes on; none: there is nothing more.
    pub next: Option<i64>,
}

impl<T> Page<T> {
    /// What was found of a list of at most `length`. `end`: where looking ended before the list did.
    pub(super) fn of(rows: Vec<T>, id: impl Fn(&T) -> i64, length: u32, end: Option<i64>) -> Self {
        let is_full = rows.len() >= length as usize;
        let next = if is_full { rows.last().map(id) } else { end };
        Self { rows, next }
    }

    /// No longer than that: behind its last row it goes on.
    #[must_use]
    pub fn cut(mut self, length: usize, id: impl Fn(&T) -> i64) -> Self {
        if self.rows.len() > length {
            self.rows.truncate(length);
            self.next = self.rows.last().map(id);
        }
        self
    }
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), next: None }
    }
}

impl<T> Deref for Page<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.rows
    }
}

impl<T> DerefMut for Page<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.rows
    }
}

impl<T> IntoIterator for Page<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.into_iter()
    }
}

/// The ids among which is looked, both ends left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) above: i64,
    pub(super) below: i64,
    /// The lowest come first.
    pub(super) is_rising: bool,
}

impl Span {
    /// All behind a cursor.
    pub(super) fn behind(before: Option<i64>, after: Option<i64>) -> Self {
        let (above, below) = (after.unwrap_or(i64::MIN), before.unwrap_or(i64::MAX));
        Self { above, below, is_rising: after.is_some() }
    }

    /// Only from this id on.
    pub(super) fn from(&mut self, id: i64) {
        self.above = self.above.max(id.saturating_sub(1));
    }

    /// Only up to this id, itself left out.
    pub(super) fn up_to(&mut self, id: i64) {
        self.below = self.below.min(id);
    }

    /// Only as far as this id, itself taken in.
    pub(super) fn end_at(&mut self, id: i64) {
        if self.is_rising { self.up_to(id.saturating_add(1)) } else { self.from(id) }
    }

    pub(super) fn order(self) -> &'static str {
        if self.is_rising { "ASC" } else { "DESC" }
    }
}

/// Between which moments rows were made that a filter can mean, as far as their ids tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

impl Made {
    fn between(since: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        let slack = i64::try_from(OUT_OF_ORDER.as_millis()).unwrap_or(i64::MAX);
        Self {
            since: since.map(|since| Timestamp(since.0.saturating_sub(slack))),
            until: until.map(|until| until.plus(OUT_OF_ORDER)),
        }
    }
}

/// By which way the deliveries of a filter are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// What they belong to names them: there are few.
    Named,
    /// Those in flight: there are few.
    InFlight,
    /// Those that are dead, or held, by their ids.
    Stopped(State),
    /// Those that are not settled, by their ways.
    Open(State),
    /// Those that are settled, by when they changed, if they are few; else all.
    Settled(State),
    /// All, by their ids.
    All,
}

impl DeliveryFilter {
    /// How many are asked for.
    #[must_use]
    pub fn length(&self) -> usize {
        length(self.limit) as usize
    }

    /// Moves the cursor behind a page, whose `next` that is.
    pub fn go_on(&mut self, next: Option<i64>) {
        *(if self.after.is_some() { &mut self.after } else { &mut self.before }) = next;
    }

    /// The way that leads to the fewest.
    pub(super) fn walk(&self) -> Walk {
        if self.ids.is_some() || self.notification_id.is_some() || self.record_id.is_some() {
            return Walk::Named;
        }
        match self.state {
            None => Walk::All,
            Some(State::InFlight) => Walk::InFlight,
            Some(state @ (State::Dead | State::Held)) => Walk::Stopped(state),
            Some(state @ (State::Waiting | State::Blocked)) => Walk::Open(state),
            Some(state @ (State::Delivered | State::Superseded | State::Discarded)) => Walk::Settled(state),
        }
    }

    /// When those can have been made that it means. What changed before a moment was made before it.
    pub(super) fn made(&self) -> Made {
        let until = [self.until, self.changed_until].into_iter().flatten().min();
        Made::between(self.since, until)
    }

    /// Whether a delivery is one of those that it means, its cursor and length apart.
    #[must_use]
    pub fn takes(&self, view: &DeliveryView) -> bool {
        let Self {
            ids,
            state,
            source,
            organization,
            destination,
            route,
            notification_id,
            record_id,
            since,
            until,
            changed_since,
            changed_until,
            attempts,
            status,
            text,
            kept: asked,
            kept_as: _,
            search,
            search_as: _,
            before: _,
            after: _,
            limit: _,
        } = self;
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let within = |since: &Option<Timestamp>, until: &Option<Timestamp>, at: Timestamp| {
            since.is_none_or(|since| since <= at) && until.is_none_or(|until| at < until)
        };
        ids.as_ref().is_none_or(|ids| ids.contains(&view.delivery_id))
            && state.is_none_or(|state| state == view.state)
            && is(source, &view.source)
            && organization
                .as_deref()
                .is_none_or(|wanted| organization_key(wanted) == organization_key(&view.organization_id))
            && is(destination, &view.destination)
            && is(route, &view.route)
            && is(notification_id, &view.notification_id)
            && is(record_id, &view.record_id)
            && within(since, until, view.created_at)
            && within(changed_since, changed_until, view.changed_at)
            && attempts.is_none_or(|least| view.attempts >= least)
            && status.is_none_or(|status| view.status == Some(status))
            && text.as_ref().is_none_or(|text| view.reason.as_ref().is_some_and(|reason| reason.contains(text)))
            && asked.as_deref().is_none_or(|asked| has_kept(view, asked))
            && search.as_deref().is_none_or(|asked| is_found_by(&view.search, asked))
    }
}

/// Whether what was asked for was kept of a delivery's answer.
fn has_kept(view: &DeliveryView, asked: &str) -> bool {
    let (name, wanted) = kept(asked);
    let found = view.kept.get(name).and_then(super::payload::searched);
    found.is_some_and(|found| wanted.is_none_or(|wanted| wanted == found))
}

/// How many of each way are looked at, where there are so many ways.
pub(super) fn share(ways: usize) -> usize {
    (LOOK_MAX / ways.max(1)).max(SHARE_MIN)
}

/// The next ids of several runs, each in order and at most `share` long; and where looking ended: behind that, those runs that
/// were cut may have more.
pub(super) fn merged(runs: Vec<Vec<i64>>, share: usize, is_rising: bool) -> (Vec<i64>, Option<i64>) {
    let cut = runs.iter().filter(|run| run.len() >= share).filter_map(|run| run.last().copied());
    let end = if is_rising { cut.min() } else { cut.max() };
    let is_seen = |id: &i64| end.is_none_or(|end| if is_rising { *id <= end } else { *id >= end });
    (runs.into_iter().flatten().filter(is_seen).collect(), end)
}

/// A lane whose head has so many behind it, the first of which was made then.
pub(super) fn standing(head: DeliveryView, behind: usize, made_at: Option<Timestamp>) -> LaneView {
    let count = u32::try_from(behind).unwrap_or(u32::MAX);
    let since = match (head.state, made_at) {
        (State::Waiting | State::Blocked | State::InFlight, Some(made_at)) => made_at,
        _ => head.changed_at,
    };
    LaneView { head, behind: count.min(BEHIND_MAX), is_more: count > BEHIND_MAX, since }
}

impl NotificationFilter {
    /// How many are asked for.
    #[must_use]
    pub fn length(&self) -> usize {
        length(self.limit) as usize
    }

    /// Moves the cursor behind a page, whose `next` that is.
    pub fn go_on(&mut self, next: Option<i64>) {
        *(if self.after.is_some() { &mut self.after } else { &mut self.before }) = next;
    }

    /// Whether something that they have names them: then there are few.
    pub(super) fn is_named(&self) -> bool {
        self.notification_id.is_some() || self.record_id.is_some()
    }

    /// When those can have been made that it means.
    pub(super) fn made(&self) -> Made {
        Made::between(self.since, self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_never_empty_by_its_length_nor_endless() {
        assert_eq!([None, Some(0), Some(7), Some(u32::MAX)].map(length), [100, 1, 7, 1_000]);
    }

    #[test]
    fn a_page_goes_on_behind_its_last_row_or_where_looking_ended() {
        let next = |rows: Vec<i64>, length, end| Page::of(rows, |id| *id, length, end).next;
        assert_eq!(next(vec![9, 7], 2, None), Some(7));
        assert_eq!(next(vec![9, 7], 2, Some(3)), Some(7));
        assert_eq!(next(vec![9], 2, Some(3)), Some(3));
        assert_eq!(next(vec![], 2, Some(3)), Some(3));
        assert_eq!(next(vec![9], 2, None), None);
        let page = Page { rows: vec![9, 7, 5], next: None };
        assert_eq!(page.clone().cut(2, |id| *id), Page { rows: vec![9, 7], next: Some(7) });
        assert_eq!(page.clone().cut(3, |id| *id), page);
    }

    #[test]
    fn a_span_ends_where_looking_ended_and_takes_that_in() {
        let mut falling = Span::behind(Some(100), None);
        falling.from(10);
        falling.end_at(50);
        assert_eq!((falling.above, falling.below, falling.order()), (49, 100, "DESC"));
        let mut rising = Span::behind(None, Some(10));
        rising.up_to(80);
        rising.end_at(50);
        assert_eq!((rising.above, rising.below, rising.order()), (10, 51, "ASC"));
    }

    #[test]
    fn runs_end_together_where_the_first_of_them_was_cut() {
        assert_eq!(merged(vec![vec![9, 7, 5], vec![8, 2]], 3, false), (vec![9, 7, 5, 8], Some(5)));
        assert_eq!(merged(vec![vec![1, 3, 5], vec![2, 8]], 3, true), (vec![1, 3, 5, 2], Some(5)));
        assert_eq!(merged(vec![vec![9, 7], vec![8]], 3, false), (vec![9, 7, 8], None));
        assert_eq!(merged(Vec::new(), share(0), false), (Vec::new(), None));
    }

    #[test]
    fn of_an_organization_only_the_first_characters_count() {
        for (id, key) in [("00D24000000abcdEAA", "00D24000000abcd"), ("00D", "00D"), (" äöü ", "äöü")] {
            assert_eq!(organization_key(id), key);
        }
    }

    #[test]
    fn a_field_is_searched_for_a_value_or_how_it_begins_or_for_any() {
        let fields = BTreeMap::from([("Name".to_owned(), "ACME-4711".to_owned())]);
        for (asked, is_found) in [
            ("Name=ACME-4711", true),
            ("Name=acme-4711", false),
            ("Name=ACME*", true),
            ("Name=*", true),
            ("Name=CME*", false),
            ("Name", true),
            ("Other", false),
            ("Other=ACME-4711", false),
        ] {
            assert_eq!(is_found_by(&fields, asked), is_found, "{asked}");
        }
        assert_eq!(searchable(&"ä".repeat(200)).len(), 256);
        assert_eq!(searchable(&format!("x{}", "ä".repeat(200))).len(), 255);
    }

    #[test]
    fn what_was_kept_is_asked_for_by_name_or_by_name_and_value() {
        for (asked, expected) in [
            ("id", ("id", None)),
            ("id=7", ("id", Some("7"))),
            ("id=a=b", ("id", Some("a=b"))),
            ("id=", ("id", Some(""))),
        ] {
            assert_eq!(kept(asked), expected, "{asked}");
        }
    }
}
