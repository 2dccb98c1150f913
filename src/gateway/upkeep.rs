//! What goes on in the background as long as the gateway runs: heartbeats, what absences mean, pruning.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::admin::{ABSENCE_ALARM, Terms};
use crate::clock::SharedClock;
use crate::store::{Absence, Store, pace};
use crate::telemetry::Alarms;

/// How often the gateway notes that it listens.
const BEAT: Duration = Duration::from_secs(60);
/// How often it looks for what can be pruned.
const ROUND: Duration = Duration::from_secs(60);
/// How long it prunes in one go.
const PRUNE_PATIENCE: Duration = Duration::from_secs(600);

/// Looks after what the store keeps.
pub(super) struct Upkeep {
    pub(super) store: Arc<dyn Store>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) clock: SharedClock,
    pub(super) terms: Arc<ArcSwap<Terms>>,
}

impl Upkeep {
    /// Notes that the gateway listens, and says when it did not.
    pub(super) async fn beat(&self) {
        match self.store.heartbeat(self.clock.now()).await {
            Ok(None) => {}
            Ok(Some(absence)) => tracing::warn!(absence = absence.id, "{}", absence.words()),
            Err(error) => tracing::debug!(%error, "the heartbeat was not kept"),
        }
        match self.store.absences().await {
            Ok(absences) => self.sound(&absences),
            Err(error) => tracing::debug!(%error, "absences could not be read"),
        }
    }

    fn sound(&self, absences: &[Absence]) {
        let now = self.clock.now();
        for absence in absences {
            let subject = absence.id.to_string();
            if absence.stands(now) {
                self.alarms.raise(ABSENCE_ALARM, &subject, &absence.words());
            } else {
                self.alarms.clear(ABSENCE_ALARM, &subject);
            }
        }
    }

    /// Beats without end.
    pub(super) async fn beat_on(self: Arc<Self>) {
        loop {
            tokio::time::sleep(BEAT).await;
            self.beat().await;
        }
    }

    /// Prunes without end, whenever there is something to prune.
    pub(super) async fn prune_on(self: Arc<Self>) {
        loop {
            tokio::time::sleep(ROUND).await;
            let (store, others) = (self.store.as_ref(), pace::Company::Others);
            let terms = self.terms.load_full();
            match pace::prune(store, &terms.retention, &self.clock, others, PRUNE_PATIENCE).await {
                Ok(pruned) if pruned.is_nothing() => {}
                Ok(pruned) => tracing::info!(
                    payloads = pruned.payloads,
                    attempts = pruned.attempts,
                    deliveries = pruned.deliveries,
                    notifications = pruned.notifications,
                    bytes_returned = pruned.bytes_returned,
                    "what was kept long enough was pruned"
                ),
                Err(error) => tracing::debug!(%error, "pruning broke off"),
            }
        }
    }
}
