//! A store whose payloads are sealed: on the way in and on the way out, whichever store it is.
//!
//! The store below keeps text and compares none of it, save what is found by its value; that is sealed so that equal
//! values look equal. Ids, lanes, marks, names and counters stay in clear: the store lives by them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::future::BoxFuture;
use tokio::sync::{broadcast, watch};

use super::lists::{self, LIST_MAX, Page, Sought};
use super::payload::{PayloadMark, Rewrite, Rewritten};
use super::{
    Absence, Accept, Accepted, Archive, AttemptView, AuditEntry, AuditFilter, Backlog, Backup, BackupRoom, By, Chain,
    Change, Claim, Claims, Content, DayFilter, Deed, DeliveryFilter, DeliveryView, Discarded, Discrepancy, Gap, Health,
    LaneFilter, Lanes, Ledger, LedgerDays, NotificationFilter, NotificationView, Prunable, Prune, Pruned, RefusedPost,
    Replay, Replayed, Reroute, Retention, Sample, SavedView, SealingKey, Settle, Signal, Store, StoreError,
    StoreResult, StoredConfig, SystemState, TakenConfig, Token, Unsettled, Way, WriterFigures,
};
use crate::cipher::{CipherError, Keyring};
use crate::clock::{Day, Timestamp};
use crate::delivery::{ConfigVersion, DeliveryId, Lease, State};

pub mod rekey;
mod values;

/// How many pages are read, as long as a list can be, while reasons are searched: then the one who asks goes on.
const SEARCHED_MAX: u32 = 20;

/// A system of which so many claims in a row are refused gets nothing any more.
const REFUSED_MIN: u32 = 3;

/// The keys in force: exchanged as a whole when another configuration is.
pub type SharedKeys = Arc<ArcSwap<Keyring>>;

/// Keys to begin with.
#[must_use]
pub fn shared(keys: Keyring) -> SharedKeys {
    Arc::new(ArcSwap::from_pointee(keys))
}

/// The store above another one that seals what it holds.
pub struct Sealed {
    store: Arc<dyn Store>,
    keys: SharedKeys,
    /// The key that was missed when something was to be sent, which another gateway writes with.
    blind: ArcSwapOption<SealingKey>,
    /// Systems whose claims the database refuses: how often in a row, and why.
    refused: Mutex<BTreeMap<String, (u32, String)>>,
}

impl Sealed {
    /// `store` with these keys. Without any, everything is written and read as it stands.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, keys: SharedKeys) -> Self {
        Self { store, keys, blind: ArcSwapOption::empty(), refused: Mutex::default() }
    }

    fn keys(&self) -> Arc<Keyring> {
        self.keys.load_full()
    }

    /// Runs a command with what it brings sealed.
    fn with<'a, C: Send + 'a, T: Send + 'a>(
        &'a self,
        mut command: C,
        seal: impl FnOnce(&Keyring, &mut C) -> Result<(), CipherError>,
        run: impl FnOnce(C) -> BoxFuture<'a, StoreResult<T>>,
    ) -> BoxFuture<'a, StoreResult<T>> {
        match seal(&self.keys.load(), &mut command) {
            Ok(()) => run(command),
            Err(error) => Box::pin(async move { Err(unsealed(&error)) }),
        }
    }

    /// Opens what a store gives back.
    fn opened<'a, T: Send + 'a>(
        &'a self,
        asked: BoxFuture<'a, StoreResult<T>>,
        open: impl FnOnce(&Keyring, &mut T) + Send + 'a,
    ) -> BoxFuture<'a, StoreResult<T>> {
        Box::pin(async move {
            let mut found = asked.await?;
            open(&self.keys.load(), &mut found);
            Ok(found)
        })
    }

    /// Opens what was claimed. What was changed on the disk harms itself alone. Where this gateway lacks a key that the store
    /// knows, nothing goes out at all, and it is not ready.
    async fn open_claims(&self, mut claims: Claims) -> StoreResult<Claims> {
        let keys = self.keys();
        let mut missing = Vec::new();
        for claimed in &mut claims.claimed {
            let Err(error) = values::open_claimed(&keys, claimed) else { continue };
            claimed.unreadable = Some(format!("its content in the store cannot be read: {error}"));
            if let CipherError::UnknownKey(id) = error {
                missing.push(id);
            }
        }
        if let Some(state) = &mut claims.state {
            values::open_state(&keys, state);
        }
        let known = if missing.is_empty() { Vec::new() } else { self.store.sealing_keys().await? };
        let Some(lacks) = known.into_iter().find(|key| missing.contains(&key.id)) else {
            if !claims.claimed.is_empty() {
                self.blind.store(None);
            }
            return Ok(claims);
        };
        let leases = claims.claimed.iter().map(|claimed| (claimed.delivery, claimed.lease)).collect();
        self.store.release(leases).await?;
        let reason = rekey::missing_key(&lacks);
        tracing::error!("nothing is sent: {reason}");
        self.blind.store(Some(Arc::new(lacks)));
        Err(StoreError::Unavailable(reason))
    }

    /// Keeps whether the claims of a system are refused, which no time mends.
    fn note_claim(&self, system: String, error: Option<&StoreError>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            None => drop(refused.remove(&system)),
            Some(StoreError::Refused(reason)) => {
                let (count, why) = refused.entry(system).or_default();
                *count = count.saturating_add(1);
                reason.clone_into(why);
            }
            Some(_) => {}
        }
    }

    /// Why nothing of a system is sent, where its claims are refused again and again.
    fn refusal(&self) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (system, (_, reason)) = refused.iter().find(|(_, (count, _))| *count >= REFUSED_MIN)?;
        Some(format!("nothing is sent to system {system}, since the database refuses it: {reason}"))
    }

    /// Deliveries whose reason holds a text: the store below cannot see it, so they are opened one after the other.
    async fn search(&self, filter: DeliveryFilter, text: String) -> StoreResult<Page<DeliveryView>> {
        let (mut found, mut asked) = (Page::default(), DeliveryFilter { limit: Some(LIST_MAX), ..filter.clone() });
        for _ in 0..SEARCHED_MAX {
            let Page { mut rows, next } = self.store.deliveries(asked.clone()).await?;
            let keys = self.keys();
            rows.iter_mut().for_each(|view| values::open_delivery(&keys, view));
            rows.retain(|view| view.reason.as_ref().is_some_and(|reason| reason.contains(&text)));
            found.append(&mut rows);
            found.next = next;
            if found.len() >= filter.length() || next.is_none() {
                break;
            }
            asked.go_on(next);
        }
        Ok(found.cut(filter.length(), |view| view.delivery_id.0))
    }

    /// The same of notifications.
    async fn search_notifications(
        &self,
        filter: NotificationFilter,
        text: String,
    ) -> StoreResult<Page<NotificationView>> {
        let (mut found, mut asked) = (Page::default(), NotificationFilter { limit: Some(LIST_MAX), ..filter.clone() });
        for _ in 0..SEARCHED_MAX {
            let Page { mut rows, next } = self.store.notifications(asked.clone()).await?;
            let keys = self.keys();
            rows.iter_mut().for_each(|view| values::open_notification_view(&keys, view));
            rows.retain(|view| view.reason.as_ref().is_some_and(|reason| reason.contains(&text)));
            found.append(&mut rows);
            found.next = next;
            if found.len() >= filter.length() || next.is_none() {
                break;
            }
            asked.go_on(next);
        }
        Ok(found.cut(filter.length(), |view| view.notification.row))
    }
}

/// All that a value which is searched for may be written as; nothing where it stands in clear.
fn sought_as(keys: &Keyring, asked: Option<&str>) -> StoreResult<Vec<String>> {
    match asked.filter(|_| !keys.is_empty()).map(lists::sought) {
        None | Some((_, Sought::Any)) => Ok(Vec::new()),
        Some((_, Sought::Whole(text))) => Ok(values::sought_as(keys, text)),
        Some((name, Sought::Beginning(_))) => {
            let reason = format!(
                "what {name} holds is encrypted in the store, so it is found by the whole value alone: leave the * out"
            );
            Err(StoreError::Conflict(reason))
        }
    }
}

fn unsealed(error: &CipherError) -> StoreError {
    StoreError::Unavailable(format!("a payload cannot be written: {error}"))
}

impl Store for Sealed {
    fn accept(&self, accept: Accept) -> BoxFuture<'_, StoreResult<Accepted>> {
        self.with(accept, values::seal_accept, |accept| self.store.accept(accept))
    }

    fn refuse(&self, post: RefusedPost) -> BoxFuture<'_, StoreResult<()>> {
        self.with(post, values::seal_refused, |post| self.store.refuse(post))
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, StoreResult<Claims>> {
        Box::pin(async move {
            let system = claim.system.clone();
            let claims = self.store.claim(claim).await;
            self.note_claim(system, claims.as_ref().err());
            self.open_claims(claims?).await
        })
    }

    fn settle(&self, settle: Settle) -> BoxFuture<'_, StoreResult<()>> {
        self.with(settle, values::seal_settle, |settle| self.store.settle(settle))
    }

    fn change(
        &self,
        delivery: DeliveryId,
        change: Change,
        still: Option<State>,
        by: By,
        now: Timestamp,
    ) -> BoxFuture<'_, StoreResult<DeliveryView>> {
        self.opened(self.store.change(delivery, change, still, by, now), values::open_delivery)
    }

    fn replay(&self, replay: Replay) -> BoxFuture<'_, StoreResult<Replayed>> {
        let seal = |keys: &Keyring, replay: &mut Replay| {
            values::seal_planned(keys, replay.planned.as_mut_slice())?;
            replay.edit.iter_mut().try_for_each(|edit| values::seal_edit(keys, edit))
        };
        let done = self.with(replay, seal, |replay| self.store.replay(replay));
        self.opened(done, |keys, replayed| values::open_delivery(keys, &mut replayed.delivery))
    }

    fn reroute(&self, reroute: Reroute) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        let seal = |keys: &Keyring, reroute: &mut Reroute| values::seal_planned(keys, &mut reroute.deliveries);
        self.with(reroute, seal, |reroute| self.store.reroute(reroute))
    }

    fn system(&self, system: String) -> BoxFuture<'_, StoreResult<SystemState>> {
        self.opened(self.store.system(system), values::open_state)
    }

    fn set_system(&self, system: String, state: SystemState, deed: Option<Deed>) -> BoxFuture<'_, StoreResult<()>> {
        self.with(state, values::seal_state, |state| self.store.set_system(system, state, deed))
    }

    fn turn_system(
        &self,
        system: String,
        from: SystemState,
        to: SystemState,
    ) -> BoxFuture<'_, StoreResult<SystemState>> {
        let keys = self.keys();
        Box::pin(async move {
            let (mut from, mut to) = (from, to);
            if !keys.is_empty() {
                // No two sealed texts look the same: the one that stands is compared open, and handed on as it stands.
                let standing = self.store.system(system.clone()).await?;
                let mut opened = standing.clone();
                values::open_state(&keys, &mut opened);
                if (&opened.paused, &opened.breaker) == (&from.paused, &from.breaker) {
                    from = SystemState { active_ms: from.active_ms, ..standing };
                }
                values::seal_state(&keys, &mut to).map_err(|error| unsealed(&error))?;
            }
            let mut state = self.store.turn_system(system, from, to).await?;
            values::open_state(&keys, &mut state);
            Ok(state)
        })
    }

    fn notifications(&self, mut filter: NotificationFilter) -> BoxFuture<'_, StoreResult<Page<NotificationView>>> {
        match sought_as(&self.keys(), filter.search.as_deref()) {
            Ok(forms) => filter.search_as = forms,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        }
        if let Some(text) = filter.text.take_if(|_| !self.keys().is_empty()) {
            return Box::pin(self.search_notifications(filter, text));
        }
        self.opened(self.store.notifications(filter), |keys, views| {
            views.iter_mut().for_each(|view| values::open_notification_view(keys, view));
        })
    }

    fn notification(&self, id: String) -> BoxFuture<'_, StoreResult<Vec<NotificationView>>> {
        self.opened(self.store.notification(id), |keys, views| {
            views.iter_mut().for_each(|view| values::open_notification_view(keys, view));
        })
    }

    fn records(&self, rows: Vec<i64>) -> BoxFuture<'_, StoreResult<BTreeMap<i64, String>>> {
        self.opened(self.store.records(rows), |keys, records| {
            records.values_mut().for_each(|xml| values::open_xml(keys, xml));
        })
    }

    fn contents(&self, after: i64) -> BoxFuture<'_, StoreResult<Vec<Content>>> {
        self.opened(self.store.contents(after), |keys, contents| {
            contents.iter_mut().for_each(|content| values::open_content(keys, content));
        })
    }

    fn deliveries(&self, mut filter: DeliveryFilter) -> BoxFuture<'_, StoreResult<Page<DeliveryView>>> {
        let keys = self.keys();
        match sought_as(&keys, filter.search.as_deref()) {
            Ok(forms) => filter.search_as = forms,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        }
        if !keys.is_empty() {
            if let Some((_, text)) = filter.kept.as_deref().and_then(|kept| kept.split_once('=')) {
                filter.kept_as = values::searched_as(&keys, text);
            }
            if let Some(text) = filter.text.take() {
                return Box::pin(self.search(filter, text));
            }
        }
        self.opened(self.store.deliveries(filter), |keys, views| {
            views.iter_mut().for_each(|view| values::open_delivery(keys, view));
        })
    }

    fn lanes(&self, filter: LaneFilter) -> BoxFuture<'_, StoreResult<Lanes>> {
        self.opened(self.store.lanes(filter), |keys, lanes| {
            lanes.rows.iter_mut().for_each(|lane| values::open_delivery(keys, &mut lane.head));
        })
    }

    fn lane(
        &self,
        system: String,
        lane: String,
        after: i64,
        limit: u32,
    ) -> BoxFuture<'_, StoreResult<Page<DeliveryView>>> {
        self.opened(self.store.lane(system, lane, after, limit), |keys, views| {
            views.iter_mut().for_each(|view| values::open_delivery(keys, view));
        })
    }

    fn delivery(&self, id: DeliveryId) -> BoxFuture<'_, StoreResult<(DeliveryView, Vec<AttemptView>)>> {
        self.opened(self.store.delivery(id), |keys, (view, attempts)| {
            values::open_delivery(keys, view);
            attempts.iter_mut().for_each(|attempt| values::open_attempt(keys, attempt));
        })
    }

    fn refused(&self, limit: u32) -> BoxFuture<'_, StoreResult<Vec<RefusedPost>>> {
        self.opened(self.store.refused(limit), |keys, posts| {
            posts.iter_mut().for_each(|post| values::open_refused(keys, post));
        })
    }

    fn release(&self, leases: Vec<(DeliveryId, Lease)>) -> BoxFuture<'_, StoreResult<()>> {
        self.store.release(leases)
    }

    fn begin_call(&self, delivery: DeliveryId, lease: Lease) -> BoxFuture<'_, StoreResult<()>> {
        self.store.begin_call(delivery, lease)
    }

    fn redirect(&self, delivery: DeliveryId, lease: Lease, way: Way) -> BoxFuture<'_, StoreResult<()>> {
        self.store.redirect(delivery, lease, way)
    }

    fn renew(&self, leases: Vec<(DeliveryId, Lease)>, lease: Duration) -> BoxFuture<'_, StoreResult<Vec<DeliveryId>>> {
        self.store.renew(leases, lease)
    }

    fn stands_for(&self, deliveries: Vec<DeliveryId>) -> BoxFuture<'_, StoreResult<Vec<Vec<DeliveryId>>>> {
        self.store.stands_for(deliveries)
    }

    fn outdated_by(&self, delivery: DeliveryId) -> BoxFuture<'_, StoreResult<Option<DeliveryId>>> {
        self.store.outdated_by(delivery)
    }

    fn save_config(&self, config: StoredConfig, now: Timestamp) -> BoxFuture<'_, StoreResult<ConfigVersion>> {
        self.store.save_config(config, now)
    }

    fn config(&self, version: ConfigVersion) -> BoxFuture<'_, StoreResult<StoredConfig>> {
        self.store.config(version)
    }

    fn take_config(&self, taken: TakenConfig) -> BoxFuture<'_, StoreResult<()>> {
        self.store.take_config(taken)
    }

    fn taken_configs(&self, limit: u32) -> BoxFuture<'_, StoreResult<Vec<TakenConfig>>> {
        self.store.taken_configs(limit)
    }

    fn ways(&self) -> BoxFuture<'_, StoreResult<Vec<Way>>> {
        self.store.ways()
    }

    fn unsettled(&self) -> BoxFuture<'_, StoreResult<Vec<Unsettled>>> {
        self.store.unsettled()
    }

    fn discard_unsettled(
        &self,
        ways: Vec<Way>,
        by: By,
        limit: u32,
        now: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Discarded>> {
        self.store.discard_unsettled(ways, by, limit, now)
    }

    fn sweep(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.store.sweep()
    }

    fn pull_back(&self, now: Timestamp, wait_max: Duration) -> BoxFuture<'_, StoreResult<u64>> {
        self.store.pull_back(now, wait_max)
    }

    fn ledger(&self) -> BoxFuture<'_, StoreResult<Ledger>> {
        self.store.ledger()
    }

    fn ledger_days(&self, filter: DayFilter) -> BoxFuture<'_, StoreResult<LedgerDays>> {
        self.store.ledger_days(filter)
    }

    fn gaps(&self, since: Day, to: Option<Day>) -> BoxFuture<'_, StoreResult<Vec<Gap>>> {
        self.store.gaps(since, to)
    }

    fn heartbeat(&self, now: Timestamp) -> BoxFuture<'_, StoreResult<Option<Absence>>> {
        Box::pin(async move {
            // Another gateway may have seen no payload under this key any more, and forgotten it.
            rekey::note(&*self.store, &self.keys(), now).await?;
            self.store.heartbeat(now).await
        })
    }

    fn absences(&self) -> BoxFuture<'_, StoreResult<Vec<Absence>>> {
        self.store.absences()
    }

    fn acknowledge(&self, absence: i64, by: By, now: Timestamp) -> BoxFuture<'_, StoreResult<Absence>> {
        self.store.acknowledge(absence, by, now)
    }

    fn add_sample(&self, sample: Sample) -> BoxFuture<'_, StoreResult<()>> {
        self.store.add_sample(sample)
    }

    fn samples(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<Vec<Sample>>> {
        self.store.samples(since)
    }

    fn audit(&self, deed: Deed) -> BoxFuture<'_, StoreResult<i64>> {
        self.store.audit(deed)
    }

    fn audit_log(&self, filter: AuditFilter) -> BoxFuture<'_, StoreResult<Vec<AuditEntry>>> {
        self.store.audit_log(filter)
    }

    fn audit_chain(&self, after: i64, limit: u32) -> BoxFuture<'_, StoreResult<(Chain, Vec<AuditEntry>)>> {
        self.store.audit_chain(after, limit)
    }

    fn add_token(&self, token: Token, hash: String) -> BoxFuture<'_, StoreResult<()>> {
        self.store.add_token(token, hash)
    }

    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<Token>>> {
        self.store.tokens()
    }

    fn token(&self, hash: String) -> BoxFuture<'_, StoreResult<Option<Token>>> {
        self.store.token(hash)
    }

    fn revoke_token(&self, id: String, by: String, now: Timestamp) -> BoxFuture<'_, StoreResult<Token>> {
        self.store.revoke_token(id, by, now)
    }

    fn use_token(&self, id: String, now: Timestamp) -> BoxFuture<'_, StoreResult<()>> {
        self.store.use_token(id, now)
    }

    fn save_view(&self, view: SavedView) -> BoxFuture<'_, StoreResult<Option<SavedView>>> {
        let saved = self.with(view, values::seal_view, |view| self.store.save_view(view));
        self.opened(saved, |keys, before| before.iter_mut().for_each(|view| values::open_view(keys, view)))
    }

    fn views(&self) -> BoxFuture<'_, StoreResult<Vec<SavedView>>> {
        self.opened(self.store.views(), |keys, views| views.iter_mut().for_each(|view| values::open_view(keys, view)))
    }

    fn forget_view(&self, list: String, name: String) -> BoxFuture<'_, StoreResult<SavedView>> {
        self.opened(self.store.forget_view(list, name), values::open_view)
    }

    fn sealing_keys(&self) -> BoxFuture<'_, StoreResult<Vec<SealingKey>>> {
        self.store.sealing_keys()
    }

    fn note_sealing_key(&self, key: SealingKey) -> BoxFuture<'_, StoreResult<()>> {
        self.store.note_sealing_key(key)
    }

    fn forget_sealing_key(&self, id: String) -> BoxFuture<'_, StoreResult<()>> {
        self.store.forget_sealing_key(id)
    }

    fn rewrite_payloads(
        &self,
        from: PayloadMark,
        limit: usize,
        rewrite: Rewrite,
    ) -> BoxFuture<'_, StoreResult<Rewritten>> {
        self.store.rewrite_payloads(from, limit, rewrite)
    }

    fn prune(&self, prune: Prune) -> BoxFuture<'_, StoreResult<Pruned>> {
        self.store.prune(prune)
    }

    fn prunable(&self, retention: Retention, now: Timestamp) -> BoxFuture<'_, StoreResult<Prunable>> {
        self.store.prunable(retention, now)
    }

    fn backup(&self, file: PathBuf, progress: watch::Sender<(u64, u64)>) -> BoxFuture<'_, StoreResult<Backup>> {
        self.store.backup(file, progress)
    }

    fn backup_room(&self, file: PathBuf) -> BoxFuture<'_, StoreResult<BackupRoom>> {
        self.store.backup_room(file)
    }

    fn backlog(&self) -> BoxFuture<'_, StoreResult<Backlog>> {
        self.store.backlog()
    }

    fn verify(&self) -> BoxFuture<'_, StoreResult<Vec<Discrepancy>>> {
        self.store.verify()
    }

    fn condition(&self) -> Health {
        match (self.store.condition(), &*self.blind.load()) {
            // It may have been given since.
            (Health::Ready, Some(lacks)) if self.keys.load().proof(&lacks.id).is_none() => {
                Health::Failing(rekey::missing_key(lacks))
            }
            (Health::Ready, _) => self.refusal().map_or(Health::Ready, Health::Failing),
            (failing @ Health::Failing(_), _) => failing,
        }
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.store.health()
    }

    fn signals(&self) -> Option<broadcast::Receiver<Signal>> {
        self.store.signals()
    }

    fn figures(&self) -> WriterFigures {
        self.store.figures()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.store.close()
    }
}

/// What is in a store whose payloads are sealed.
pub struct SealedArchive {
    archive: Box<dyn Archive>,
    keys: Keyring,
}

impl SealedArchive {
    /// `archive` with these keys.
    #[must_use]
    pub fn new(archive: Box<dyn Archive>, keys: Keyring) -> Self {
        Self { archive, keys }
    }
}

impl Archive for SealedArchive {
    fn in_force(&self) -> BoxFuture<'_, StoreResult<Option<(TakenConfig, StoredConfig)>>> {
        self.archive.in_force()
    }

    fn sealing_keys(&self) -> BoxFuture<'_, StoreResult<Vec<SealingKey>>> {
        self.archive.sealing_keys()
    }

    fn contents<'a>(
        &'a self,
        before: Option<i64>,
        source: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, StoreResult<Vec<NotificationView>>> {
        Box::pin(async move {
            let mut views = self.archive.contents(before, source, limit).await?;
            for view in &mut views {
                let id = &view.notification.notification_id;
                let unread =
                    |error: CipherError| StoreError::Conflict(format!("notification {id} cannot be read: {error}"));
                values::check_notification(&self.keys, &view.notification).map_err(unread)?;
                values::open_notification_view(&self.keys, view);
            }
            Ok(views)
        })
    }
}
