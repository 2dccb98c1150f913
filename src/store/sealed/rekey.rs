//! Which keys a store knows, and a walk that writes every payload anew with the key in force, while others work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::{SharedKeys, values};
use crate::cipher::Keyring;
use crate::clock::{SharedClock, Timestamp};
use crate::store::pace::{Company, Pace};
use crate::store::payload::{PAYLOADS, PayloadMark, PayloadTable, Payloads, Rewrite};
use crate::store::{SealingKey, Store, StoreError, StoreResult};

/// A step may miss rows that others change; it is taken again at most so often.
const TRIES: u32 = 100;
/// A walk during which payloads were still written with an old key is done again, at most so often.
const WALKS: u32 = 5;
/// What cannot be read is named so often, and counted beyond.
const REASONS_MAX: usize = 5;
/// Every gateway says once a minute which key it writes with.
const OTHERS_SAY: Duration = Duration::from_secs(75);
/// Between two steps the store is free for so many times as long as the step took, and at most so long.
const REST_SHARE: u32 = 2;
const REST_MAX: Duration = Duration::from_secs(1);

/// How far a walk is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = RekeyProgress)]
pub struct Progress {
    /// The table at hand.
    pub table: &'static str,
    /// Rows looked at.
    pub rows: u64,
    /// Rows written anew.
    pub changed: u64,
}

/// What a walk found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Rekeyed {
    /// The key in force; none: payloads are written in clear.
    pub active: Option<String>,
    /// Rows looked at, the first time round.
    pub rows: u64,
    /// Rows written anew.
    pub changed: u64,
    /// Rows that cannot be read, and stayed as they are.
    pub failed: u64,
    /// Why, of the first few.
    pub reasons: Vec<String>,
    /// How many rows the walk found under each key; under an empty one: in clear.
    pub found: BTreeMap<String, u64>,
    /// Rows with nothing in them that is ever sealed.
    pub empty: u64,
    /// How often a row is counted once more in `found`, as its values are under several keys: `rows` and this are `empty`
    /// and all of `found`.
    pub repeated: u64,
    /// Rows that stood under another key, or in clear, the first time round: what a dry run would write anew.
    pub outdated: u64,
    /// Keys that no payload needs any more: the configuration may lose them.
    pub unused: Vec<String>,
    /// Whether it only looked.
    pub dry_run: bool,
}

/// Sees to it that the store's keys are among those that are configured and are the same, and remembers a new one.
///
/// # Errors
/// As for [`check`].
pub async fn adopt(store: &dyn Store, keys: &Keyring, now: Timestamp) -> StoreResult<()> {
    check(store, keys).await?;
    note(store, keys, now).await
}

/// Sees to it that the store's keys are among those that are configured and are the same.
///
/// # Errors
/// `Conflict` in words when a key is missing or is another; or when the store cannot be asked.
pub async fn check(store: &dyn Store, keys: &Keyring) -> StoreResult<()> {
    let known = store.sealing_keys().await?;
    known.iter().find_map(|key| wrong_with(key, keys)).map_or(Ok(()), |reason| Err(StoreError::Conflict(reason)))
}

/// Why payloads that were sealed with a key cannot be read with those that are configured; none when they can.
#[must_use]
pub fn wrong_with(key: &SealingKey, keys: &Keyring) -> Option<String> {
    match keys.proof(&key.id) {
        Some(proof) if proof == key.proof => None,
        Some(_) => Some(another_key(&key.id)),
        None => Some(missing_key(key)),
    }
}

/// Remembers the key that seals what is written from now on. With one that only reads nothing is written.
///
/// # Errors
/// When the store does not take it.
pub async fn note(store: &dyn Store, keys: &Keyring, now: Timestamp) -> StoreResult<()> {
    let Some((id, proof)) = keys.active().and_then(|id| Some((id, keys.proof(id)?))) else { return Ok(()) };
    store.note_sealing_key(SealingKey { id: id.to_owned(), proof, since: now }).await
}

pub(super) fn missing_key(key: &SealingKey) -> String {
    format!(
        "payloads in the store are encrypted with key {:?}, in use since {}, which [store.encryption] keys does not have: add \
         it there; `omgate store rekey` then makes it unnecessary",
        key.id, key.since
    )
}

fn another_key(id: &str) -> String {
    format!(
        "key {id:?} of [store.encryption] keys is not the one of that id that the store's payloads are encrypted with: give \
         the old one back, and a new key an id of its own"
    )
}

/// What the walk's closure counts.
#[derive(Debug, Default)]
struct Tally {
    found: BTreeMap<String, u64>,
    empty: u64,
    repeated: u64,
    outdated: u64,
    failed: u64,
    reasons: Vec<String>,
}

/// Writes every payload that another key sealed, or none, anew with the key in force; then forgets the keys that nothing
/// needs any more. Others go on working: steps are small, and what they write meanwhile has the key in force.
///
/// # Errors
/// When the store does not take a step, or the configuration changes the keys meanwhile. What was written stays.
pub async fn rekey(
    store: &dyn Store,
    shared: &SharedKeys,
    clock: &SharedClock,
    company: Company,
    dry_run: bool,
    progress: &watch::Sender<Progress>,
) -> StoreResult<Rekeyed> {
    let keys = shared.load_full();
    let mut rekeyed = Rekeyed { active: keys.active().map(str::to_owned), dry_run, ..Rekeyed::default() };
    for round in 0..WALKS {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let rewrite = rewriting(&keys, &tally, dry_run);
        let changed = walk(store, rewrite, clock, company, progress).await?;
        let Tally { found, empty, repeated, outdated, failed, reasons } =
            std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
        rekeyed.changed += changed;
        (rekeyed.failed, rekeyed.reasons) = (failed, reasons);
        if round == 0 {
            rekeyed.rows = progress.borrow().rows;
            rekeyed.found = found;
            (rekeyed.empty, rekeyed.repeated, rekeyed.outdated) = (empty, repeated, outdated);
        }
        if **shared.load() != *keys {
            let reason = "the configuration brought other keys meanwhile; run it again".to_owned();
            return Err(StoreError::Conflict(reason));
        }
        if changed == 0 {
            if !dry_run && rekeyed.failed == 0 {
                rekeyed.unused = forget(store, &keys).await?;
                if company == Company::Others && store.signals().is_some() {
                    nobody_writes_with(store, &rekeyed.unused).await?;
                }
            }
            return Ok(rekeyed);
        }
    }
    let reason = "payloads are still written with an old key, or in clear: does another gateway on this database have an \
                  older configuration? Reload it, then run this again";
    Err(StoreError::Conflict(reason.to_owned()))
}

/// What the walk does with each row.
fn rewriting(keys: &Arc<Keyring>, tally: &Arc<Mutex<Tally>>, dry_run: bool) -> Rewrite {
    let (keys, tally) = (Arc::clone(keys), Arc::clone(tally));
    Rewrite(Arc::new(move |table: &'static PayloadTable, payloads: &Payloads| {
        let resealed = values::reseal(&keys, table, payloads);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = values::keys_of(table, payloads);
        match keys.len() {
            0 => tally.empty += 1,
            count => tally.repeated += u64::try_from(count - 1).unwrap_or(u64::MAX),
        }
        for key in keys {
            *tally.found.entry(key).or_default() += 1;
        }
        match resealed {
            Ok(anew) => {
                tally.outdated += u64::from(anew.is_some());
                anew.filter(|_| !dry_run)
            }
            Err(error) => {
                tally.failed += 1;
                if tally.reasons.len() < REASONS_MAX {
                    tally.reasons.push(format!("a row of table {}: {error}", table.name));
                }
                None
            }
        }
    }))
}

/// Goes once through everything; how many rows were written anew.
async fn walk(
    store: &dyn Store,
    rewrite: Rewrite,
    clock: &SharedClock,
    company: Company,
    progress: &watch::Sender<Progress>,
) -> StoreResult<u64> {
    let mut mark = PayloadMark::default();
    let (mut pace, mut changed, mut tries) = (Pace::default(), 0, 0);
    progress.send_modify(|progress| progress.rows = 0);
    loop {
        let started = clock.monotonic();
        let step = store.rewrite_payloads(mark.clone(), pace.things(), rewrite.clone()).await?;
        let took = clock.monotonic().saturating_sub(started);
        changed += step.changed;
        progress.send_modify(|progress| {
            progress.table = PAYLOADS.get(mark.table).map_or("", |table| table.name);
            progress.rows += step.looked;
            progress.changed += step.changed;
        });
        if step.missed > 0 && tries < TRIES {
            tries += 1;
        } else {
            tries = 0;
            let Some(next) = step.next else { return Ok(changed) };
            mark = next;
        }
        pace.learn(took);
        match company {
            Company::Others => tokio::time::sleep((took * REST_SHARE).clamp(Duration::from_millis(1), REST_MAX)).await,
            Company::Nobody => tokio::task::yield_now().await,
        }
    }
}

/// Waits until every other gateway has said which key it writes with; a conflict when one of those is an old one.
async fn nobody_writes_with(store: &dyn Store, old: &[String]) -> StoreResult<()> {
    tokio::time::sleep(OTHERS_SAY).await;
    match store.sealing_keys().await?.into_iter().find(|key| old.contains(&key.id)) {
        None => Ok(()),
        Some(key) => Err(StoreError::Conflict(format!(
            "another gateway on this database still writes with key {:?}: make the new one active there and reload it, then run \
             this again",
            key.id
        ))),
    }
}

/// Forgets the keys that nothing in the store needs any more; those that the configuration may lose.
async fn forget(store: &dyn Store, keys: &Keyring) -> StoreResult<Vec<String>> {
    let known: BTreeSet<String> = store.sealing_keys().await?.into_iter().map(|key| key.id).collect();
    let is_old = |id: &&str| Some(*id) != keys.active();
    for id in known.iter().map(String::as_str).filter(is_old) {
        store.forget_sealing_key(id.to_owned()).await?;
    }
    Ok(keys.ids().filter(is_old).map(str::to_owned).collect())
}
