//! One UTC day's accounts, and whether anything of it was lost: the same in the API, on its page and in the command line.

use std::str::FromStr;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Deserializer};

use crate::admin::body::{Because, Body};
use crate::admin::person::Person;
use crate::admin::question::Question;
use crate::admin::{Admin, api, metrics};
use crate::clock::{Day, Timestamp};
use crate::store::{AuditFilter, By, DAYS_MAX, DayFilter, Deed, LIST_MAX, LedgerDay, StoreResult};
use crate::telemetry::Alarm;

mod verdict;

pub(super) use verdict::DayTold;
use verdict::{Noted, Seen};

/// How often the accounts are read again when they changed meanwhile.
const READS: usize = 3;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.route("/ledger/day", web::get().to(day)).route("/ledger/day/{day}/acknowledge", web::post().to(acknowledge));
}

/// What an entry of the audit log is about that takes note of what a day's refused POSTs may have lost.
const NOTED: (&str, &str) = ("acknowledge", "day");

/// A day as it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Which {
    #[default]
    Yesterday,
    Today,
    That(Day),
}

impl Which {
    /// The day that is meant, and not one that is still to come.
    pub(super) fn on(self, today: Day) -> Result<Day, String> {
        match self {
            Self::Today => Ok(today),
            Self::Yesterday => Ok(today.plus(-1)),
            Self::That(day) if day > today => Err(format!("{day} is not there yet: today is {today} (UTC)")),
            Self::That(day) => Ok(day),
        }
    }
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "yesterday" => Ok(Self::Yesterday),
            "today" => Ok(Self::Today),
            day => day.parse().map(Self::That).map_err(|error: String| format!("{error}, today or yesterday")),
        }
    }
}

impl<'de> Deserialize<'de> for Which {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which day.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// `today`, `yesterday` (as it is when nothing is said), or a UTC day such as 2026-11-26.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = r"^(today|yesterday|[0-9]{4}-[0-9]{2}-[0-9]{2})$")]
    day: Which,
}

/// One UTC day's accounts, and whether anything of it was lost.
#[utoipa::path(get, path = "/api/v1/ledger/day", params(Asked), responses((status = 200, body = DayTold)))]
pub(super) async fn day(admin: web::Data<Admin>, asked: Question<Asked>) -> HttpResponse {
    match asked.day.on(admin.clock.now().day()) {
        Ok(day) => api::answer(seen(&admin, day).await.map(|seen| verdict::judge(&seen))),
        Err(reason) => api::problem(400, &reason),
    }
}

/// Takes note of the POSTs that were refused on a day: what Salesforce may have dropped of them is no doubt any more.
#[utoipa::path(
    post,
    path = "/api/v1/ledger/day/{day}/acknowledge",
    params(("day" = String, Path)),
    request_body = Because,
    responses((status = 200, body = DayTold))
)]
pub(super) async fn acknowledge(
    admin: web::Data<Admin>,
    day: web::Path<String>,
    because: Body<Because>,
    person: Person,
) -> HttpResponse {
    let Because { reason, dry_run } = because.into_inner();
    let now = admin.clock.now();
    let day = match day.parse::<Which>().and_then(|which| which.on(now.day())) {
        Ok(day) => day,
        Err(reason) => return api::problem(400, &reason),
    };
    if reason.len() > api::REASON_BYTES_MAX {
        return api::problem(400, "the reason is too long");
    }
    if reason.trim().is_empty() && !dry_run {
        return api::problem(
            400,
            "to take note of what was refused needs a reason: what was found of it in Salesforce",
        );
    }
    match note(&admin, day, (By::new(person.0, &reason), dry_run)).await {
        Ok(Some(told)) => HttpResponse::Ok().json(told),
        Ok(None) => {
            api::problem(409, &format!("no refused POST of {day} is in doubt: there is nothing to take note of"))
        }
        Err(error) => api::from_store(&error),
    }
}

/// The day as it is judged then; none where there is nothing to take note of.
async fn note(admin: &Admin, day: Day, (by, dry_run): (By, bool)) -> StoreResult<Option<DayTold>> {
    let mut seen = seen(admin, day).await?;
    if !verdict::doubts_refusals(&seen) {
        return Ok(None);
    }
    if !dry_run {
        let ((verb, object), count) = (NOTED, verdict::refused_since_noted(&seen));
        let noted = Noted { at: admin.clock.now(), who: by.who.clone(), reason: by.reason.clone() };
        // Without its entry nobody took note.
        let deed = Deed {
            verb: verb.to_owned(),
            object,
            object_id: day.to_string(),
            count,
            result: "done".to_owned(),
            ..Deed { at: noted.at, by, ..Deed::default() }
        };
        admin.store.audit(deed).await?;
        seen.noted = Some(noted);
        let of_the_day =
            |alarm: &Alarm| alarm.name == "refused" && alarm.ended_at.is_none() && alarm.since.day() == day;
        for alarm in admin.alarms.all().into_iter().filter(of_the_day) {
            admin.alarms.clear("refused", &alarm.subject);
        }
    }
    Ok(Some(verdict::judge(&seen)))
}

/// Who took note last of what was refused on a day.
async fn noted(admin: &Admin, day: Day) -> StoreResult<Option<Noted>> {
    let (verb, object) = NOTED;
    let filter = AuditFilter {
        verb: Some(verb.to_owned()),
        object: Some(object.to_owned()),
        object_id: Some(day.to_string()),
        limit: Some(1),
        ..AuditFilter::default()
    };
    let latest = admin.store.audit_log(filter).await?.into_iter().next();
    Ok(latest.map(|entry| Noted { at: entry.at, who: entry.who, reason: entry.reason }))
}

/// All that is looked at. It is read again when the accounts changed meanwhile: days and counters can be compared only where
/// they are of one moment.
async fn seen(admin: &Admin, day: Day) -> StoreResult<Seen> {
    let store = admin.store.as_ref();
    let mut ledger = store.ledger().await?;
    let (mut first, mut rows, mut is_still) = (None, Vec::new(), false);
    for _ in 0..READS {
        (first, rows) = all_days(admin).await?;
        let after = store.ledger().await?;
        is_still = after == ledger;
        ledger = after;
        if is_still {
            break;
        }
    }
    let refused = store.refused(LIST_MAX).await?;
    Ok(Seen {
        day,
        now: admin.clock.now(),
        first,
        sources: admin.keep.terms.load().sources.keys().cloned().collect(),
        rows,
        ledger,
        is_still,
        gaps: store.gaps(day, Some(day)).await?,
        absences: store.absences().await?,
        refused: refused.into_iter().map(|post| (post.at, post.source)).collect(),
        noted: noted(admin, day).await?,
        not_taking: not_taking(admin),
    })
}

/// Since when nothing is taken, as far as it is known, and why.
fn not_taking(admin: &Admin) -> Option<(Timestamp, String)> {
    let reason = metrics::readiness(admin).err()?;
    let alarms = admin.alarms.all();
    let store = alarms.iter().find(|alarm| alarm.name == "store" && alarm.ended_at.is_none());
    Some((store.map_or_else(|| admin.clock.now(), |alarm| alarm.since), reason))
}

/// The accounts of every day that there is, and which is the first.
async fn all_days(admin: &Admin) -> StoreResult<(Option<Day>, Vec<LedgerDay>)> {
    // A clock that went back left days that are still to come.
    let last = admin.clock.now().day().plus(1);
    let filter = |from, to| DayFilter { from, to, source: None, destination: None };
    let first = admin.store.ledger_days(filter(last, last)).await?.first;
    let (mut from, mut rows) = (first.unwrap_or(last), Vec::new());
    while from <= last {
        let to = from.plus(DAYS_MAX - 1).min(last);
        rows.extend(admin.store.ledger_days(filter(from, to)).await?.rows);
        from = to.plus(1);
    }
    Ok((first, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_asked_for_by_its_date_or_from_now() {
        assert_eq!("today".parse(), Ok(Which::Today));
        assert_eq!("yesterday".parse(), Ok(Which::Yesterday));
        assert_eq!("1970-01-02".parse(), Ok(Which::That(Day(1))));
        assert!("tomorrow".parse::<Which>().unwrap_err().ends_with("such as 2026-09-21, today or yesterday"));
    }
}
