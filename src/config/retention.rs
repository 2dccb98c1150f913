//! `[retention]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::read::{Field, Section};
use super::value;
use crate::store::{Kept, Retention};

const DAY: Duration = Duration::from_secs(86_400);
/// Ten years: whoever wants longer writes `never`.
const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);
/// Salesforce repeats a message for 24 hours, and people its queue for longer.
const DEDUPE_MIN: Duration = Duration::from_secs(7 * 86_400);
const AUDIT_MIN: Duration = Duration::from_secs(365 * 86_400);

/// What says that something is kept for good.
const NEVER: &str = "never";

pub(super) fn retention(root: &Section<'_, '_>) -> Retention {
    let default = Retention::default();
    let Some(section) = root.section("retention") else { return default };
    let read = Retention {
        delivered: kept(&section, "delivered"),
        superseded: kept(&section, "superseded"),
        discarded: kept(&section, "discarded"),
        dead: age(&section, "dead", DAY..=LONGEST, default.dead),
        unrouted: age(&section, "unrouted", DAY..=LONGEST, default.unrouted),
        unreadable: age(&section, "unreadable", DAY..=LONGEST, default.unreadable),
        quarantined: age(&section, "quarantined", DAY..=LONGEST, default.quarantined),
        skipped_empty: age(&section, "skipped_empty", Duration::ZERO..=LONGEST, default.skipped_empty),
        dedupe: section.duration("dedupe", DEDUPE_MIN..=LONGEST).map_or(default.dedupe, |field| field.value),
        audit: age(&section, "audit", AUDIT_MIN..=LONGEST, default.audit),
    };
    section.finish();
    read
}

/// The ages of a state's parts, of which none outlives the next larger one.
fn kept(root: &Section<'_, '_>, key: &'static str) -> Kept {
    let default = Kept::DEFAULT;
    let Some(section) = root.section(key) else { return default };
    let read = |key| field(&section, key, Duration::ZERO..=LONGEST);
    let (payloads, attempts, rows) = (read("payloads"), read("attempts"), read("rows"));
    let value = |field: &Option<Field<Option<Duration>>>, default| field.as_ref().map_or(default, |field| field.value);
    // What is not said is no longer than what is: whoever shortens the rows shortens what hangs on them.
    let rows_age = value(&rows, default.rows);
    let attempts_age = value(&attempts, shorter(default.attempts, rows_age));
    let payloads_age = value(&payloads, shorter(shorter(default.payloads, attempts_age), rows_age));
    for (small, small_age, large, large_age) in
        [(&attempts, attempts_age, "rows", rows_age), (&payloads, payloads_age, "attempts", attempts_age)]
    {
        if let Some(field) = small
            && shorter(small_age, large_age) != small_age
        {
            let reason = format!(
                "must not be longer than {large} ({}): it goes with them at the latest",
                large_age.map_or(NEVER.to_owned(), value::written)
            );
            section.desk.error(&field.spot, reason);
        }
    }
    section.finish();
    Kept { payloads: payloads_age, attempts: attempts_age, rows: rows_age }
}

/// The shorter of two ages; none is the longest.
fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

fn age(
    section: &Section<'_, '_>,
    key: &'static str,
    bounds: RangeInclusive<Duration>,
    default: Option<Duration>,
) -> Option<Duration> {
    field(section, key, bounds).map_or(default, |field| field.value)
}

/// A duration within bounds, or `never`.
fn field(
    section: &Section<'_, '_>,
    key: &'static str,
    bounds: RangeInclusive<Duration>,
) -> Option<Field<Option<Duration>>> {
    section.parsed(key, |text| {
        if text == NEVER {
            return Ok(None);
        }
        let age = value::duration(text).map_err(|reason| format!("{reason}, or \"{NEVER}\""))?;
        if bounds.contains(&age) {
            return Ok(Some(age));
        }
        let (from, to) = (value::written(*bounds.start()), value::written(*bounds.end()));
        Err(format!("must be from {from} to {to}, or \"{NEVER}\", not {}", value::written(age)))
    })
}
