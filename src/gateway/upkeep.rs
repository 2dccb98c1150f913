//! What goes on in the background as long as the gateway runs: heartbeats, what absences mean, pruning.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::admin::{ABSENCE_ALARM, Terms};
use crate::clock::{SharedClock, Timestamp};
use crate::store::{Absence, Acks, Figures, Health, SAMPLE_EVERY, Sample, Store, StoreResult, pace};
use crate::telemetry::{AckCounts, Alarms, Metrics};

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
    pub(super) metrics: Arc<Metrics>,
    pub(super) sampled: Sampled,
}

/// What of this gateway was measured last, and under which name.
pub(super) struct Sampled {
    gateway: String,
    last: Mutex<(Timestamp, AckCounts)>,
}

impl Default for Sampled {
    fn default() -> Self {
        // Another one for each process.
        let number = RandomState::new().hash_one("gateway");
        Self { gateway: format!("{number:016x}"), last: Mutex::default() }
    }
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
        if let Err(error) = self.measure().await {
            tracing::debug!(%error, "what is measured was not kept");
        }
    }

    fn sound(&self, absences: &[Absence]) {
        let now = self.clock.now();
        for absence in absences {
            let subject = absence.id.to_string();
            if absence.stands(now) {
                self.alarms.restate(ABSENCE_ALARM, &subject, &absence.words());
            } else {
                self.alarms.clear(ABSENCE_ALARM, &subject);
            }
        }
    }

    /// Measures once every few minutes, at moments that are the same for all gateways.
    async fn measure(&self) -> StoreResult<()> {
        self.metrics.ack_times().mark();
        let at = self.clock.now().step(SAMPLE_EVERY);
        let acks = {
            let mut last = self.sampled.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.0 >= at {
                return Ok(());
            }
            let all = self.metrics.ack_times().all();
            let (_, before) = std::mem::replace(&mut *last, (at, all));
            all.since(&before)
        };
        let (ledger, backlog) = (self.store.ledger().await?, self.store.backlog().await?);
        let percentile = |percent| acks.percentile_ms(percent).unwrap_or_default();
        let own = Acks { count: acks.count(), p50_ms: percentile(50.0), p99_ms: percentile(99.0) };
        let acks = BTreeMap::from([(self.sampled.gateway.clone(), own)]);
        self.store.add_sample(Sample { at, figures: Some(Figures::of(&ledger, &backlog)), acks }).await
    }

    /// Beats without end; and at once when the store can write again, so that it is known for how long it could not.
    pub(super) async fn beat_on(self: Arc<Self>) {
        let mut was_ready = true;
        loop {
            for _ in 0..BEAT.as_secs() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let is_ready = self.store.condition() == Health::Ready;
                if !std::mem::replace(&mut was_ready, is_ready) && is_ready {
                    break;
                }
            }
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
