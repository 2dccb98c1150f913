//! What bounds the calls to a system beside its rate: `burst`, `calendar`, `breaker`.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::read::{Field, Section};
use crate::dispatch::breaker::{Settings, Share};
use crate::dispatch::calendar::Calendar;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// Of how many calls a share is taken when that is not said.
const SHARE_CALLS: usize = 20;

/// Calls that may go at once after a quiet time.
pub(super) fn burst(section: &Section<'_, '_>) -> Option<Field<i64>> {
    let burst = section.integer("burst", 1..=100_000)?;
    if !section.has("rate") {
        section.desk.error(&burst.spot, "has no effect without rate");
    }
    Some(burst)
}

/// Open hours; what is wrong in them is reported.
pub(super) fn calendar(section: Section<'_, '_>) -> Option<Field<Calendar>> {
    let zone = section.required("time_zone").and_then(|name| match TimeZone::get(&name.value) {
        Ok(zone) => Some(zone),
        Err(_) => {
            let reason = format!("{:?} is no time zone; write one such as \"Europe/Berlin\" or \"UTC\"", name.value);
            section.desk.error(&name.spot, reason);
            None
        }
    });
    let open = each(&section, "open");
    let exceptions = each(&section, "exceptions");
    let spot = section.spot.clone();
    let calendar = zone.zip(open.zip(exceptions)).and_then(|(zone, (open, exceptions))| {
        Calendar::new(zone, &open, exceptions).map_err(|reason| section.desk.error(&spot, reason)).ok()
    });
    section.finish();
    calendar.map(|value| Field { value, spot })
}

/// A list, each entry read; none when one of them was wrong.
fn each<T: std::str::FromStr<Err = String>>(section: &Section<'_, '_>, key: &'static str) -> Option<Vec<T>> {
    let Some(list) = section.list(key) else { return if section.has(key) { None } else { Some(Vec::new()) } };
    let parsed: Vec<Option<T>> = list
        .iter()
        .map(|field| field.value.parse().map_err(|reason: String| section.desk.error(&field.spot, reason)).ok())
        .collect();
    parsed.into_iter().collect()
}

/// When the circuit breaker opens: `false` turns it off, a table says otherwise than usual. None: it is not said.
pub(super) fn breaker(section: &Section<'_, '_>) -> Option<Field<Option<Settings>>> {
    let spot = section.spot_of("breaker");
    if !section.is_table("breaker") {
        let on = section.boolean("breaker")?;
        return Some(Field { value: on.then(Settings::default), spot });
    }
    let table = section.section("breaker")?;
    let usual = Settings::default();
    let failures = table.count("failures", 1..=10_000, usual.failures);
    let calls = table.count("calls", 2..=10_000, SHARE_CALLS);
    let share = table.number("share", 0.01..=1.0).map(|part| Share { part, calls });
    if share.is_none() && table.has("calls") && !table.has("share") {
        table.desk.error(&table.spot_of("calls"), "has no effect without share");
    }
    let wait = table.duration("wait", SECOND / 10..=HOUR).map_or(usual.wait, |field| field.value);
    let wait_max = table.duration("max_wait", SECOND / 10..=24 * HOUR).map(|field| field.value);
    if wait_max.is_some_and(|max| max < wait) {
        table.desk.error(&table.spot_of("max_wait"), "must not be shorter than wait");
    }
    table.finish();
    let wait_max = wait_max.unwrap_or(usual.wait_max.max(wait));
    Some(Field { value: Some(Settings { failures, share, wait, wait_max }), spot })
}
