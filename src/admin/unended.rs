//! What began and never ended, as the audit log has it: the gateway was ended before it could say what came of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::Admin;
use crate::clock::Timestamp;
use crate::store::{AuditEntry, AuditFilter, LIST_MAX, StoreResult};

/// What the audit log says of what begins under the same verb as it ends: the gateway may end before it does.
pub(super) const BEGUN: &str = "begun; what came of it follows, unless the gateway ended first";

/// So many things are looked after in one list; what is about more stays as it is.
const LOOKS_MAX: usize = 50;

/// What is said of it where nobody else works on the store.
const STOPPED: &str =
    "begun, not ended: the gateway stopped. What it did until then is done; order it again for the rest";
/// Where other gateways do.
const STOPPED_OR_ELSEWHERE: &str =
    "begun, and no end is noted: the gateway that did it stopped, or is at it still. What it did until now is done";

/// What is to be said of entries that began something before this gateway did, and of whose end the log knows nothing.
pub(super) async fn unended(admin: &Admin, entries: &[AuditEntry]) -> StoreResult<BTreeMap<i64, &'static str>> {
    let words = if admin.store.signals().is_some() { STOPPED_OR_ELSEWHERE } else { STOPPED };
    let begun: Vec<&AuditEntry> =
        entries.iter().filter(|entry| entry.at < admin.since && Kind::of(entry).is_some()).collect();
    let mut oldest: BTreeMap<(&str, &str), Timestamp> = BTreeMap::new();
    for entry in &begun {
        let at = oldest.entry((&entry.object, &entry.object_id)).or_insert(entry.at);
        *at = entry.at.min(*at);
    }
    let mut found = BTreeMap::new();
    for ((object, object_id), from) in oldest.into_iter().take(LOOKS_MAX) {
        let filter = AuditFilter {
            object: Some(object.to_owned()),
            object_id: Some(object_id.to_owned()),
            from: Some(from),
            limit: Some(LIST_MAX),
            ..AuditFilter::default()
        };
        let log = admin.store.audit_log(filter).await?;
        let own = begun.iter().filter(|entry| entry.object == object && entry.object_id == object_id);
        let open = open(&log);
        // Of what stands further back than the log was read nothing is said.
        found.extend(own.filter(|entry| open.contains(&entry.id)).map(|entry| (entry.id, words)));
    }
    Ok(found)
}

/// How an entry says that something began, and what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'e> {
    /// A job, by its verb.
    Job(&'e str),
    /// Something else, whose end has the same verb: a routing of what is stored, or a walk over the store.
    Other(&'e str),
}

impl<'e> Kind<'e> {
    /// None where it is no beginning.
    fn of(entry: &'e AuditEntry) -> Option<Self> {
        let job = entry.verb.strip_prefix("begin ").filter(|_| entry.object == "job").map(Self::Job);
        job.or_else(|| (entry.result == BEGUN).then_some(Self::Other(&entry.verb)))
    }

    fn is_ended_by(self, entry: &AuditEntry) -> bool {
        match self {
            Self::Job(verb) => entry.verb.strip_prefix("end ") == Some(verb),
            Self::Other(verb) => entry.verb == verb && Kind::of(entry).is_none(),
        }
    }
}

/// The beginnings in a log of one thing, newest first, that no end follows before the same begins again.
fn open(log: &[AuditEntry]) -> BTreeSet<i64> {
    let mut open: Vec<(i64, Kind<'_>, &str)> = Vec::new();
    let mut left = BTreeSet::new();
    for entry in log.iter().rev() {
        match Kind::of(entry) {
            Some(kind) => {
                // A number is given to another job after a start; whoever orders another thing again has no other under way.
                if let Some(place) = open.iter().position(|(_, known, who)| *known == kind && *who == entry.who) {
                    left.insert(open.swap_remove(place).0);
                }
                open.push((entry.id, kind, &entry.who));
            }
            None => open.retain(|(_, kind, who)| !(kind.is_ended_by(entry) && *who == entry.who)),
        }
    }
    left.extend(open.into_iter().map(|(id, ..)| id));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, who: &str, verb: &str, (object, result): (&str, &str)) -> AuditEntry {
        AuditEntry {
            id,
            at: Timestamp(id),
            who: who.to_owned(),
            verb: verb.to_owned(),
            object: object.to_owned(),
            object_id: "1".to_owned(),
            count: 0,
            reason: String::new(),
            result: result.to_owned(),
            was: String::new(),
            became: String::new(),
            hash: None,
        }
    }

    #[test]
    fn what_began_is_open_until_its_own_end_and_a_number_is_given_again_after_a_start() {
        let job = |id, verb: &str| entry(id, "alice", verb, ("job", "begun"));
        let log = |entries: &[AuditEntry]| open(&entries.iter().rev().cloned().collect::<Vec<_>>());
        let ended = [job(1, "begin replay"), job(2, "pause"), job(3, "end replay")];
        assert_eq!(log(&ended), BTreeSet::new());
        let cut = [job(1, "begin replay"), job(2, "begin hold"), job(3, "end hold")];
        assert_eq!(log(&cut), BTreeSet::from([1]));
        let again = [job(1, "begin replay"), job(2, "begin replay"), job(3, "end replay")];
        assert_eq!(log(&again), BTreeSet::from([1]), "the end is that of the second");
    }

    #[test]
    fn a_routing_is_ended_by_whoever_began_it() {
        let routing = |id, who: &str, result: &str| entry(id, who, "reroute", ("source", result));
        let log = [routing(3, "bob", "done"), routing(2, "bob", BEGUN), routing(1, "alice", BEGUN)];
        assert_eq!(open(&log), BTreeSet::from([1]));
    }
}
