//! What questions name: a source, route, destination or kind that nobody has is refused with the names that are near, for an
//! empty list would say that there is nothing of it.

use std::collections::BTreeSet;

use actix_web::HttpResponse;

use crate::admin::{Admin, api};
use crate::store::{AUDIT_OBJECTS, AUDIT_VERBS, AuditFilter, LIST_MAX, NOTIFICATION_KINDS, StoreResult};

/// How many names are proposed.
const PROPOSED_MAX: usize = 3;
/// Names less alike than this are not proposed.
const ALIKE_MIN: f64 = 0.75;
/// How many names are shown where none is near.
const SHOWN_MAX: usize = 10;
/// How much of a wrong name is shown, in characters.
const NAME_MAX: usize = 100;

/// What a question names, and how much it asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'q> {
    pub(super) source: Option<&'q str>,
    pub(super) route: Option<&'q str>,
    pub(super) destination: Option<&'q str>,
    /// Of notifications.
    pub(super) kind: Option<&'q str>,
    /// A route, or a destination that one leads to: where something is to be sent again.
    pub(super) to: Option<&'q str>,
    /// Of the audit log.
    pub(super) verb: Option<&'q str>,
    pub(super) object: Option<&'q str>,
    /// A field and what it holds.
    pub(super) search: Option<&'q str>,
    pub(super) limit: Option<u32>,
}

impl Asked<'_> {
    /// The answer to a question that cannot be meant; none when it can. What is gone from the configuration and still in the
    /// store may be asked for.
    pub(super) async fn fault(self, admin: &Admin) -> Option<HttpResponse> {
        if let Some(limit) = self.limit.filter(|limit| !(1..=LIST_MAX).contains(limit)) {
            let rule = format!("limit is {limit}: ask for 1 to {LIST_MAX}, and for the next ones below the last");
            return Some(api::problem(400, &rule));
        }
        if let Some(kind) = self.kind.filter(|kind| !NOTIFICATION_KINDS.contains(kind)) {
            let known = NOTIFICATION_KINDS.join(", ");
            return Some(api::problem(400, &format!("there is no kind {:?}; there are {known}", clipped(kind))));
        }
        if let Some(reason) = self.search.and_then(|search| not_searched(admin, search)) {
            return Some(api::problem(400, &reason));
        }
        if let Some(reason) = self.to.and_then(|to| leads_nowhere(admin, to)) {
            return Some(api::problem(400, &reason));
        }
        let unknown = match self.unknown(admin).await {
            Ok(None) => self.unheard_of(admin).await,
            unknown => unknown,
        };
        match unknown {
            Ok(None) => None,
            Ok(Some(reason)) => Some(api::problem(400, &reason)),
            Err(error) => Some(api::from_store(&error)),
        }
    }

    /// What of it the audit log does not say of anything, in words. The log is asked only for what nobody does any more.
    async fn unheard_of(self, admin: &Admin) -> StoreResult<Option<String>> {
        let filter = AuditFilter { limit: Some(1), ..AuditFilter::default() };
        for (what, asked, known) in [("verb", self.verb, AUDIT_VERBS), ("object", self.object, AUDIT_OBJECTS)] {
            let Some(name) = asked.filter(|name| !known.contains(name)) else { continue };
            let filter = match what {
                "verb" => AuditFilter { verb: Some(name.to_owned()), ..filter.clone() },
                _ => AuditFilter { object: Some(name.to_owned()), ..filter.clone() },
            };
            if admin.store.audit_log(filter).await?.is_empty() {
                let hint = hint(name, &known.iter().copied().collect());
                return Ok(Some(format!("the audit log has no {what} {:?}; {hint}", clipped(name))));
            }
        }
        Ok(None)
    }

    /// What of its names is neither in the configuration in force nor in the store, in words. The store is asked only for
    /// what the configuration does not know.
    async fn unknown(self, admin: &Admin) -> StoreResult<Option<String>> {
        let (terms, plan) = (admin.keep.terms.load_full(), admin.dispatch.plan());
        if let Some(source) = self.source.filter(|source| !terms.sources.contains_key(*source)) {
            let stored = admin.store.ledger().await?.sources;
            if !stored.contains_key(source) {
                return Ok(Some(nobodys("source", source, terms.sources.keys().chain(stored.keys()))));
            }
        }
        let route = self.route.filter(|route| !plan.routes.contains_key(*route));
        let destination = self.destination.filter(|destination| !plan.destinations.contains_key(*destination));
        if route.is_none() && destination.is_none() {
            return Ok(None);
        }
        let ways = admin.store.ways().await?;
        if let Some(route) = route.filter(|route| ways.iter().all(|way| way.route != *route)) {
            let known = plan.routes.keys().chain(ways.iter().map(|way| &way.route));
            return Ok(Some(nobodys("route", route, known)));
        }
        if let Some(destination) = destination.filter(|name| ways.iter().all(|way| way.destination != *name)) {
            let known = plan.destinations.keys().chain(ways.iter().map(|way| &way.destination));
            return Ok(Some(nobodys("destination", destination, known)));
        }
        Ok(None)
    }
}

/// That nothing leads to where something is to be sent again, and which names are near.
fn leads_nowhere(admin: &Admin, to: &str) -> Option<String> {
    let plan = admin.dispatch.plan();
    if plan.routes.contains_key(to) || plan.destinations.contains_key(to) {
        return None;
    }
    let known: BTreeSet<&str> = plan.routes.keys().chain(plan.destinations.keys()).map(String::as_str).collect();
    Some(format!("to is {:?}: there is no such route or destination; {}", clipped(to), hint(to, &known)))
}

/// Why nothing can be found by a field: no source names it in `search`; none when one does.
pub(super) fn not_searched(admin: &Admin, search: &str) -> Option<String> {
    let terms = admin.keep.terms.load_full();
    let known: BTreeSet<&str> =
        terms.facts.sources.iter().flat_map(|source| &source.search).map(String::as_str).collect();
    let name = search.split_once('=').map_or(search, |(name, _)| name.trim());
    if known.contains(name) {
        return None;
    }
    let form = "write FIELD=VALUE, such as Name=ACME-4711";
    let list = known.iter().copied().collect::<Vec<_>>().join(", ");
    let hint = if known.is_empty() { "none names any".to_owned() } else { format!("these are named: {list}; {form}") };
    Some(format!("no source names the field {:?} in its `search`; {hint}", clipped(name)))
}

/// That nobody has a name, and which are near.
fn nobodys<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n String>) -> String {
    let known: BTreeSet<&str> = known.map(String::as_str).collect();
    let hint = hint(name, &known);
    format!("neither the configuration nor the store has a {what} {:?}; {hint}", clipped(name))
}

/// That there is no system of that name, and which are near.
pub(super) fn no_system(admin: &Admin, name: &str) -> Option<String> {
    let systems = admin.dispatch.systems();
    let known: BTreeSet<&str> = systems.iter().map(|(system, _)| system.as_str()).collect();
    (!known.contains(name)).then(|| format!("there is no system {:?}; {}", clipped(name), hint(name, &known)))
}

/// Which names are near, or which there are.
fn hint(name: &str, known: &BTreeSet<&str>) -> String {
    let near: Vec<String> = nearest(name, known).into_iter().map(|near| format!("{near:?}")).collect();
    if known.is_empty() {
        "there is none at all".to_owned()
    } else if near.is_empty() {
        let more = if known.len() > SHOWN_MAX { ", …" } else { "" };
        format!("there are {}{more}", known.iter().copied().take(SHOWN_MAX).collect::<Vec<_>>().join(", "))
    } else {
        format!("did you mean {}?", near.join(" or "))
    }
}

/// Those that are most alike, the nearest first.
fn nearest<'n>(name: &str, known: &BTreeSet<&'n str>) -> Vec<&'n str> {
    let wanted = clipped(name).to_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&wanted, &known.to_lowercase());
    let mut near: Vec<(f64, &str)> = known.iter().map(|known| (likeness(known), *known)).collect();
    near.retain(|(likeness, _)| *likeness >= ALIKE_MIN);
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    near.into_iter().take(PROPOSED_MAX).map(|(_, name)| name).collect()
}

/// So much of a wrong name as is shown.
pub(super) fn clipped(name: &str) -> String {
    name.chars().take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_has_is_told_with_those_that_are_near() {
        let names = ["erp-create", "erp-cancel", "crm"].map(str::to_owned);
        for (name, expected) in [
            ("erp-creat", "has a route \"erp-creat\"; did you mean \"erp-create\" or \"erp-cancel\"?"),
            ("CRM", "has a route \"CRM\"; did you mean \"crm\"?"),
            ("zzz", "has a route \"zzz\"; there are crm, erp-cancel, erp-create"),
        ] {
            assert_eq!(
                nobodys("route", name, names.iter()),
                format!("neither the configuration nor the store {expected}")
            );
        }
        assert!(nobodys("route", "a", std::iter::empty()).ends_with("there is none at all"));
        let long = nobodys("route", &"é".repeat(5_000), names.iter());
        assert!(long.chars().count() < 300, "{long}");
    }
}
