//! Changes of many deliveries: chosen by ids, by a filter or by an issue; one after the other in the order of their ids, no
//! faster than a rate; paused, resumed and cancelled by a person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::admin::outlook::Wait;
use crate::admin::{Admin, lists, masked, replay};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, State};
use crate::issue::{self, Issue, Issues};
use crate::store::{By, Change, DeliveryFilter, DeliveryView, Store, StoreError, StoreResult};

/// How many deliveries are read at once.
const PAGE: u32 = 500;
/// How many of a dry run are shown, and looked at for being outdated.
pub(super) const SAMPLE: usize = 20;
/// How many refusals of a job are kept with their reasons.
const REFUSALS_MAX: usize = 100;
/// How many jobs are remembered once they ended.
const ENDED_MAX: usize = 100;
/// How many may be under way at once.
const RUNNING_MAX: usize = 8;
/// Changes a second unless it is said.
const RATE: u32 = 100;
/// The fastest.
const RATE_MAX: u32 = 10_000;
/// A store that does not take a change now is asked again after this long.
const AGAIN: Duration = Duration::from_millis(500);
/// So long it may take a job to write down that it ended, when the gateway ends it.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// How many things are changed a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(u32);

impl Pace {
    /// The pace of a rate that was asked for; what is wrong with it.
    pub(super) fn of(rate: Option<u32>) -> Result<Self, String> {
        let rate = rate.unwrap_or(RATE);
        let is_fine = (1..=RATE_MAX).contains(&rate);
        is_fine.then_some(Self(rate)).ok_or_else(|| format!("the rate must be from 1 to {RATE_MAX} changes a second"))
    }

    /// The time from one change to the next.
    pub(super) fn between(self) -> Duration {
        Duration::from_secs(1) / self.0.max(1)
    }

    /// How many changes a time has room for; one at least.
    pub(super) fn within(self, time: Duration) -> u32 {
        u32::try_from(time.as_secs()).unwrap_or(u32::MAX).saturating_mul(self.0).max(1)
    }
}

/// Which deliveries.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    /// These alone, at least one; without the key whichever the filter leaves. See [`Choice::ordered`].
    pub(super) ids: Option<Vec<DeliveryId>>,
    pub(super) state: Option<State>,
    pub(super) source: Option<String>,
    pub(super) organization: Option<String>,
    pub(super) destination: Option<String>,
    pub(super) route: Option<String>,
    pub(super) record_id: Option<String>,
    pub(super) notification_id: Option<String>,
    #[serde(default, deserialize_with = "crate::clock::asked_beginning")]
    pub(super) since: Option<Timestamp>,
    #[serde(default, deserialize_with = "crate::clock::asked_end")]
    pub(super) until: Option<Timestamp>,
    #[serde(default, deserialize_with = "crate::clock::asked_beginning")]
    pub(super) changed_since: Option<Timestamp>,
    #[serde(default, deserialize_with = "crate::clock::asked_end")]
    pub(super) changed_until: Option<Timestamp>,
    pub(super) attempts: Option<u32>,
    pub(super) status: Option<u16>,
    pub(super) text: Option<String>,
    pub(super) search: Option<String>,
    /// Of this issue.
    pub(super) issue: Option<String>,
    /// Which those are, as it stood when the choice was made.
    #[serde(skip)]
    pub(super) members: Option<issue::Members>,
}

/// Some of the deliveries of a choice.
pub(super) struct Page {
    pub(super) views: Vec<DeliveryView>,
    /// Those that were named and are not there.
    pub(super) missing: Vec<DeliveryId>,
    /// Where the next page begins.
    pub(super) last: i64,
}

impl Choice {
    /// With its ids in their order, each once, as it is walked.
    pub(super) fn ordered(mut self) -> Self {
        if let Some(ids) = &mut self.ids {
            ids.sort_unstable();
            ids.dedup();
        }
        self
    }

    /// Whether it says nothing at all: that would be everything.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_none() && self.issue.is_none() && self.filter() == DeliveryFilter::default()
    }

    /// What it asks for, besides ids and an issue.
    fn filter(&self) -> DeliveryFilter {
        DeliveryFilter {
            state: self.state,
            source: self.source.clone(),
            organization: self.organization.clone(),
            destination: self.destination.clone(),
            route: self.route.clone(),
            notification_id: self.notification_id.clone(),
            record_id: self.record_id.clone(),
            since: self.since,
            until: self.until,
            changed_since: self.changed_since,
            changed_until: self.changed_until,
            attempts: self.attempts,
            status: self.status,
            text: self.text.clone(),
            search: self.search.clone(),
            ..DeliveryFilter::default()
        }
    }

    /// Finds out which dead letters its issue has.
    pub(super) async fn find_members(&mut self, store: &dyn Store) -> StoreResult<()> {
        if let Some(issue) = &self.issue {
            self.members = Some(issues(store).await?.members(issue));
        }
        Ok(())
    }

    /// The next deliveries above an id, less those in which what was asked for is masked; none when there are no
    /// more.
    pub(super) async fn shown(&self, admin: &Admin, after: i64) -> StoreResult<Option<Page>> {
        let mut page = self.page(admin.store.as_ref(), after).await?;
        let (text, search) = (self.text.as_deref(), self.search.as_deref());
        if let Some(page) = page.as_mut().filter(|_| text.is_some() || search.is_some()) {
            let mut views = page.views.clone();
            masked::deliveries(admin, &mut views).await?;
            lists::keep_what_shows(&mut views, text, None, search);
            let ids: BTreeSet<i64> = views.iter().map(|view| view.delivery_id.0).collect();
            page.views.retain(|view| ids.contains(&view.delivery_id.0));
        }
        Ok(page)
    }

    /// The next deliveries above an id; none when there are no more.
    async fn page(&self, store: &dyn Store, after: i64) -> StoreResult<Option<Page>> {
        let mut page = match &self.ids {
            Some(ids) => named(store, ids, after).await?,
            None => {
                let filter = DeliveryFilter { after: Some(after), limit: Some(PAGE), ..self.filter() };
                let found = store.deliveries(filter).await?;
                let last = found.next.or_else(|| found.last().map(|view| view.delivery_id.0));
                last.map(|last| Page { views: found.rows, missing: Vec::new(), last })
            }
        };
        if let Some(page) = &mut page {
            let filter = self.ids.is_some().then(|| self.filter());
            let is_meant = |view: &DeliveryView| {
                filter.as_ref().is_none_or(|filter| filter.takes(view))
                    && self.members.as_ref().is_none_or(|members| members.have(view))
            };
            page.views.retain(is_meant);
        }
        Ok(page)
    }
}

/// So long the same dead letters need not be read again.
const ISSUES_HOLD: Duration = Duration::from_secs(5);

/// The issues as they were found last. To find them is to read every dead letter.
#[derive(Debug, Default)]
pub struct Found(Mutex<Option<Known>>);

#[derive(Clone, Debug)]
struct Known {
    at: Duration,
    /// How many dead letters each destination had then.
    dead: BTreeMap<String, i64>,
    issues: Arc<Vec<Issue>>,
}

impl Found {
    /// The issues: those that were found a moment ago, while no destination has more or fewer dead letters.
    pub(super) async fn of(&self, admin: &Admin) -> StoreResult<Arc<Vec<Issue>>> {
        let ledger = admin.store.ledger().await?;
        let dead: BTreeMap<String, i64> =
            ledger.destinations.into_iter().map(|(name, counts)| (name, counts.dead)).collect();
        let now = admin.clock.monotonic();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.dead == dead && now.saturating_sub(known.at) < ISSUES_HOLD) {
            return Ok(known.issues);
        }
        let issues = Arc::new(issues(admin.store.as_ref()).await?.list());
        let found = Known { at: now, dead, issues: Arc::clone(&issues) };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(issues)
    }
}

/// Dead letters, grouped by destination and cause.
pub(super) async fn issues(store: &dyn Store) -> StoreResult<Issues> {
    let dead = Choice { state: Some(State::Dead), ..Choice::default() };
    let mut issues = Issues::default();
    let mut after = 0;
    while let Some(page) = dead.page(store, after).await? {
        page.views.iter().for_each(|view| issues.add(view));
        after = page.last;
    }
    Ok(issues)
}

/// The next of those that are named by their ids, which rise.
async fn named(store: &dyn Store, ids: &[DeliveryId], after: i64) -> StoreResult<Option<Page>> {
    let next = ids.partition_point(|id| id.0 <= after);
    let mut missing: Vec<DeliveryId> = ids.iter().skip(next).take(PAGE as usize).copied().collect();
    let Some(last) = missing.last().map(|id| id.0) else { return Ok(None) };
    let some = Some(missing.clone());
    let filter = DeliveryFilter { ids: some, after: Some(after), limit: Some(PAGE), ..DeliveryFilter::default() };
    let views = store.deliveries(filter).await?.rows;
    // What was pruned meanwhile, or never was, is no reason to leave the others.
    missing.retain(|id| views.binary_search_by_key(id, |view| view.delivery_id).is_err());
    Ok(Some(Page { views, missing, last }))
}

/// What is known of a job.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Job)]
pub(super) struct Progress {
    id: u64,
    verb: String,
    reason: String,
    /// `running`, `paused`, `done`, `cancelled` or `failed`.
    state: &'static str,
    begun_at: Timestamp,
    ended_at: Option<Timestamp>,
    /// How many there are to change, as counted when it began.
    total: u64,
    changed: u64,
    refused: u64,
    /// The first of those that were refused, and why.
    refusals: Vec<Refusal>,
    /// Why it failed.
    error: Option<String>,
    /// Of a replay that goes on although some of those that were tried would die again: how many, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    warning: Option<String>,
    /// Systems that were not called when it began: what it lets go to them waits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waits: Vec<Wait>,
}

impl Progress {
    pub(super) fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }

    fn refuse(&mut self, delivery_id: DeliveryId, reason: String) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(Refusal { delivery_id, reason });
        }
    }
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Refusal {
    pub(super) delivery_id: DeliveryId,
    pub(super) reason: String,
}

/// What a person wants of a job that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Run,
    Pause,
    Cancel,
    /// Nobody wants it: the gateway ends it, and why.
    End(&'static str),
}

impl Wish {
    /// Whether nothing more can be wanted.
    fn is_last(self) -> bool {
        matches!(self, Self::Cancel | Self::End(_))
    }
}

struct Job {
    progress: Mutex<Progress>,
    wish: watch::Sender<Wish>,
}

impl Job {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The jobs of a gateway; those that ended are forgotten after a while, and all of them when it stops. Clones are the same.
#[derive(Clone, Default)]
pub struct Jobs {
    jobs: Arc<Mutex<BTreeMap<u64, Arc<Job>>>>,
}

/// What a job is to do.
pub(super) struct Order {
    pub(super) verb: String,
    pub(super) change: Change,
    /// To which, in their order: what was chosen when it was ordered, and nothing that comes to fit meanwhile. Numbers alone,
    /// for there may be a million.
    pub(super) ids: Vec<DeliveryId>,
    /// Why; and how, of a replay; and the state that each must be in still.
    pub(super) wish: replay::Wish,
    /// Who wants it.
    pub(super) who: String,
    pub(super) pace: Pace,
    pub(super) waits: Vec<Wait>,
    /// What is to be said of it, if anything.
    pub(super) warning: Option<String>,
}

impl Order {
    fn by(&self) -> By {
        By::new(&self.who, &self.wish.reason)
    }

    fn total(&self) -> u64 {
        u64::try_from(self.ids.len()).unwrap_or(u64::MAX)
    }

    /// The ids as they are walked. What is discarded lets the next of its lane go, and has what comes after it die: so those
    /// behind go first.
    fn walked(&self) -> Box<dyn Iterator<Item = DeliveryId> + Send + '_> {
        let ids = self.ids.iter().copied();
        if self.change == Change::Discard { Box::new(ids.rev()) } else { Box::new(ids) }
    }
}

impl Jobs {
    fn jobs(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are known, the newest first.
    pub(super) fn list(&self) -> Vec<Progress> {
        self.jobs().values().rev().map(|job| job.progress().clone()).collect()
    }

    /// One.
    pub(super) fn get(&self, id: u64) -> Option<Progress> {
        self.jobs().get(&id).map(|job| job.progress().clone())
    }

    /// A person's wish; none when there is no such job.
    pub(super) fn steer(&self, id: u64, wish: Wish) -> Option<Progress> {
        let job = self.jobs().get(&id).map(Arc::clone)?;
        let changed = job.wish.send_if_modified(|standing| {
            let changes = !standing.is_last() && *standing != wish;
            if changes {
                *standing = wish;
            }
            changes
        });
        let mut progress = job.progress();
        if changed && !progress.has_ended() {
            progress.state = if wish == Wish::Pause { "paused" } else { "running" };
        }
        Some(progress.clone())
    }

    /// Begins a job, once the audit log has it.
    pub(super) async fn begin(admin: &actix_web::web::Data<Admin>, order: Order) -> StoreResult<Progress> {
        let (job, wished) = Self::enter(admin, &order)?;
        let progress = job.progress().clone();
        super::to_its_end(set_off(admin.clone(), order, job, wished)).await?;
        Ok(progress)
    }

    /// Takes a job in, if there is room for one.
    fn enter(admin: &Admin, order: &Order) -> StoreResult<(Arc<Job>, watch::Receiver<Wish>)> {
        let mut jobs = admin.jobs.jobs();
        if admin.closing.load(Ordering::SeqCst) {
            return Err(StoreError::Conflict("the gateway is stopping; order it again afterwards".to_owned()));
        }
        let running = jobs.values().filter(|job| job.progress().ended_at.is_none()).count();
        if running >= RUNNING_MAX {
            return Err(StoreError::Conflict(format!(
                "{running} jobs are under way already; wait for one, or cancel it"
            )));
        }
        while jobs.len() >= ENDED_MAX
            && let Some(oldest) = jobs.iter().find(|(_, job)| job.progress().ended_at.is_some()).map(|(id, _)| *id)
        {
            jobs.remove(&oldest);
        }
        let id = jobs.keys().next_back().map_or(1, |last| last + 1);
        let progress = Progress {
            id,
            verb: order.verb.clone(),
            reason: order.wish.reason.clone(),
            state: "running",
            begun_at: admin.clock.now(),
            ended_at: None,
            total: order.total(),
            changed: 0,
            refused: 0,
            refusals: Vec::new(),
            error: None,
            warning: order.warning.clone(),
            waits: order.waits.clone(),
        };
        let (wish, wished) = watch::channel(Wish::Run);
        let job = Arc::new(Job { progress: Mutex::new(progress), wish });
        jobs.insert(id, Arc::clone(&job));
        Ok((job, wished))
    }

    /// Ends all that are under way, before the store that they work on is closed: each writes down that it failed, and why.
    /// None is begun any more once the gateway is closing.
    pub async fn end(&self, why: &'static str) {
        let running: Vec<_> = self.jobs().values().filter(|job| !job.progress().has_ended()).map(Arc::clone).collect();
        for job in &running {
            job.wish.send_if_modified(|standing| {
                let changes = !standing.is_last();
                if changes {
                    *standing = Wish::End(why);
                }
                changes
            });
        }
        // Whoever runs one listens until all is written.
        let ended = futures_util::future::join_all(running.iter().map(|job| job.wish.closed()));
        if tokio::time::timeout(END_PATIENCE, ended).await.is_err() {
            tracing::warn!("a job of changes did not end in time: the audit log has no entry of its end");
        }
    }
}

/// How a job ended, when nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Done,
    Cancelled,
    /// The gateway ended it, and why.
    CutOff(&'static str),
}

/// What somebody wants of a job, as the job hears it.
struct Heard(watch::Receiver<Wish>);

impl Heard {
    /// How it is to end, if it is; a pause is waited for.
    async fn end(&mut self) -> Option<Ended> {
        // Fails only when the job is gone, and whoever runs it holds it.
        let wish = self.0.wait_for(|wish| *wish != Wish::Pause).await.map_or(Wish::Run, |wish| *wish);
        match wish {
            Wish::Cancel => Some(Ended::Cancelled),
            Wish::End(why) => Some(Ended::CutOff(why)),
            Wish::Run | Wish::Pause => None,
        }
    }

    /// Waits, unless it is to end.
    async fn rest(&mut self, time: Duration) {
        let _ = tokio::time::timeout(time, self.0.wait_for(|wish| wish.is_last())).await;
    }
}

/// Lets a job run, once the audit log has it; else there is none.
async fn set_off(
    admin: actix_web::web::Data<Admin>,
    order: Order,
    job: Arc<Job>,
    wished: watch::Receiver<Wish>,
) -> StoreResult<()> {
    let (id, verb) = (job.progress().id, format!("begin {}", order.verb));
    let begun = admin.begun(order.by(), &verb, ("job", &id.to_string()), order.total(), "begun").await;
    match begun {
        Ok(()) => drop(tokio::spawn(async move { run(&admin, &order, &job, wished).await })),
        Err(_) => drop(admin.jobs.jobs().remove(&id)),
    }
    begun
}

async fn run(admin: &Admin, order: &Order, job: &Job, wished: watch::Receiver<Wish>) {
    let id = job.progress().id.to_string();
    let mut heard = Heard(wished);
    let (state, error) = match walk(admin, order, job, &mut heard).await {
        Ok(Ended::Done) => ("done", None),
        Ok(Ended::Cancelled) => ("cancelled", None),
        Ok(Ended::CutOff(why)) => ("failed", Some(why.to_owned())),
        Err(error) => ("failed", Some(error.to_string())),
    };
    // Before it is told that it ended, so that whoever waits for that finds the entry.
    let changed = job.progress().changed;
    let result = error.as_ref().map_or_else(|| state.to_owned(), |error| format!("{state}: {error}"));
    admin.audit(order.by(), &format!("end {}", order.verb), ("job", &id), changed, &result).await;
    let mut progress = job.progress();
    progress.ended_at = Some(admin.clock.now());
    progress.state = state;
    progress.error = error;
    let Progress { id, refused, .. } = *progress;
    tracing::info!(job = id, verb = order.verb, changed, refused, state, "a job of changes ended");
}

/// Changes one after the other.
async fn walk(admin: &Admin, order: &Order, job: &Job, heard: &mut Heard) -> StoreResult<Ended> {
    for id in order.walked() {
        if let Some(ended) = change(admin, order, job, heard, id).await? {
            return Ok(ended);
        }
        heard.rest(order.pace.between()).await;
    }
    Ok(Ended::Done)
}

/// Changes one, as soon as the store takes it; how the job is to end, if somebody wants that before.
async fn change(
    admin: &Admin,
    order: &Order,
    job: &Job,
    heard: &mut Heard,
    id: DeliveryId,
) -> StoreResult<Option<Ended>> {
    loop {
        if let Some(ended) = heard.end().await {
            return Ok(Some(ended));
        }
        let now = admin.clock.now();
        let changed = match &order.change {
            Change::Replay { .. } => replay::replay(admin, id, &order.wish, order.by()).await,
            change @ (Change::Hold | Change::Release | Change::Discard | Change::LetGo) => {
                admin.store.change(id, change.clone(), order.wish.state, order.by(), now).await
            }
        };
        match changed {
            Ok(changed) => {
                job.progress().changed += 1;
                admin.dispatch.wake(&changed.system);
                admin.dispatch.wake_after(&changed.route);
                return Ok(None);
            }
            Err(StoreError::Overloaded | StoreError::Unavailable(_)) => heard.rest(AGAIN).await,
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            Err(error) => {
                let reason = masked::reason(admin, id, error.to_string()).await;
                job.progress().refuse(id, reason);
                return Ok(None);
            }
        }
    }
}
