//! Deliveries that a configuration left without a way, discarded in small steps. The audit log has when it began, of which
//! ways, and when it ended: what a stop cuts off goes on at the next start.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::SharedClock;
use crate::dispatch::Dispatch;
use crate::intake::Outgoing;
use crate::store::{AuditEntry, AuditFilter, By, Deed, LIST_MAX, Store, StoreError, StoreResult, Way};

/// Deliveries discarded in one command.
const STEP: u32 = 100;
/// A store that does not take a step now, or what is in flight, is looked at again after this long.
const AGAIN: Duration = Duration::from_millis(200);
/// Envelopes that were being taken by the rules before are answered by then: the store gets 20 s, a body before up to 10 min
/// that are not waited for.
const OUTGOING: Duration = Duration::from_secs(60);
/// How the audit log names it, its object, and its beginning and end.
const VERB: &str = "discard orphans";
const OBJECT: &str = "configuration";
const BEGUN: &str = "begun";
const ENDED: &str = "done";

/// What is needed to discard.
pub(super) struct Discard {
    pub(super) store: Arc<dyn Store>,
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) clock: SharedClock,
    pub(super) closing: Arc<AtomicBool>,
}

/// What was ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ordered {
    /// The configuration that has no way for it.
    pub(super) version: i64,
    /// Who, and what he said of it.
    pub(super) by: By,
    pub(super) ways: Vec<Way>,
}

impl Ordered {
    /// Why a delivery was discarded.
    fn reason(&self) -> String {
        let because = match self.by.reason.trim() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        format!("discarded by the reload to configuration version {}, which has no way for it{because}", self.version)
    }

    fn deed(&self, result: &str, clock: &SharedClock) -> Deed {
        let (verb, object_id) = (VERB.to_owned(), self.version.to_string());
        let (at, by, result) = (clock.now(), self.by.clone(), result.to_owned());
        Deed { at, by, verb, object: OBJECT, object_id, result, ..Deed::default() }
    }

    /// What an entry says that began it; none where it says no such thing.
    fn of(entry: &AuditEntry) -> Option<Self> {
        let ways = serde_json::from_str(&entry.became).ok().filter(|_| entry.result == BEGUN)?;
        let version = entry.object_id.parse().ok()?;
        Some(Self { version, by: By::new(&entry.who, &entry.reason), ways })
    }
}

/// What began and has no end, in a log with the newest first.
fn cut_off(log: &[AuditEntry]) -> Vec<Ordered> {
    let mut seen = BTreeSet::new();
    log.iter().filter(|entry| seen.insert(entry.object_id.clone())).filter_map(Ordered::of).collect()
}

impl Discard {
    /// Keeps that it was ordered, before anybody is told that it is done.
    pub(super) async fn begun(&self, ordered: &Ordered) {
        let became = serde_json::to_string(&ordered.ways).unwrap_or_default();
        let deed = Deed { became, ..ordered.deed(BEGUN, &self.clock) };
        if let Err(error) = self.store.audit(deed).await {
            tracing::warn!(%error, "that orphans are discarded could not be written down: it does not go on after a stop");
        }
    }

    /// Discards what was ordered; `outgoing` are envelopes that met the routes of before and may still add to it.
    pub(super) async fn run(&self, ordered: Ordered, outgoing: Option<Outgoing>) {
        let over = async {
            while outgoing.as_ref().is_some_and(|outgoing| !outgoing.is_over()) {
                tokio::time::sleep(AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(OUTGOING, over).await;
        let (count, is_done) = self.all(&ordered).await;
        tracing::info!(count, "orphans were discarded");
        if is_done && let Err(error) = self.store.audit(Deed { count, ..ordered.deed(ENDED, &self.clock) }).await {
            tracing::debug!(%error, "the end of a discard could not be written down");
        }
    }

    /// What an earlier process began, and did not end.
    pub(super) async fn cut_off(&self) -> StoreResult<Vec<Ordered>> {
        let (verb, object) = (Some(VERB.to_owned()), Some(OBJECT.to_owned()));
        let filter = AuditFilter { verb, object, limit: Some(LIST_MAX), ..AuditFilter::default() };
        Ok(cut_off(&self.store.audit_log(filter).await?))
    }

    /// Until none is left, what is in flight has ended, or the ways are served again; how many there were, and whether it
    /// came to its end.
    async fn all(&self, ordered: &Ordered) -> (u64, bool) {
        let ways = &ordered.ways;
        let by = By { reason: ordered.reason(), ..ordered.by.clone() };
        let is_orphan = |way: &&Way| !self.dispatch.knows(&way.route, &way.destination, &way.system).is_served();
        let wake = || ways.iter().for_each(|way| self.dispatch.wake(&way.system));
        let (mut total, mut is_done) = (0, false);
        while !self.closing.load(Ordering::SeqCst) {
            let left: Vec<Way> = ways.iter().filter(is_orphan).cloned().collect();
            match self.store.discard_unsettled(left, by.clone(), STEP, self.clock.now()).await {
                Ok(step) => {
                    total += step.count;
                    if !step.is_more {
                        is_done = true;
                        break;
                    }
                    // A lane that goes on may be another route's.
                    wake();
                    if step.count == 0 {
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                Err(StoreError::Overloaded | StoreError::Unavailable(_)) => tokio::time::sleep(AGAIN).await,
                Err(StoreError::Closed) => break,
                Err(error) => {
                    tracing::error!(%error, "orphans could not be discarded");
                    break;
                }
            }
        }
        wake();
        (total, is_done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn what_began_last_for_a_configuration_and_has_no_end_was_cut_off() {
        let ways = vec![Way { route: "b".to_owned(), destination: "e".to_owned(), system: "e".to_owned() }];
        let entry = |version: &str, result: &str| AuditEntry {
            id: 1,
            at: Timestamp(1),
            who: "alice".to_owned(),
            verb: VERB.to_owned(),
            object: OBJECT.to_owned(),
            object_id: version.to_owned(),
            count: 0,
            reason: "gone".to_owned(),
            result: result.to_owned(),
            was: String::new(),
            became: if result == BEGUN { serde_json::to_string(&ways).unwrap() } else { String::new() },
            hash: None,
        };
        let (begun, ended) = (|version| entry(version, BEGUN), |version| entry(version, ENDED));
        let cut = Ordered { version: 7, by: By::new("alice", "gone"), ways: ways.clone() };
        assert_eq!(cut_off(&[begun("7"), ended("6"), begun("6"), ended("7"), begun("7")]), [cut]);
        assert_eq!(cut_off(&[ended("7"), begun("7")]), []);
        let damaged = AuditEntry { became: "?".to_owned(), ..begun("7") };
        assert_eq!(cut_off(&[damaged]), []);
    }
}
