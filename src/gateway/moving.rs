//! Moves the store while the gateway goes on, and says when it may turn to the other one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::open::{self, OriginOf};
use crate::admin::moving::{Move, Standing};
use crate::clock::SharedClock;
use crate::config::{self, StoreSettings};
use crate::store::transfer::Stage;
use crate::store::transfer::mover::{Mover, Progress};
use crate::store::transfer::outlook::Outlook;
use crate::store::{By, Deed, Store};
use crate::telemetry::Alarms;

/// The move of a gateway's store.
pub struct Moving {
    origin: OriginOf,
    /// Where the store is that may be moved.
    from: StoreSettings,
    /// What a relative path counts from.
    folder: PathBuf,
    clock: SharedClock,
    /// For its audit log. This must not keep it open.
    store: Weak<dyn Store>,
    /// Whoever asks runs elsewhere, and may go away.
    home: Handle,
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Default)]
struct State {
    standing: Standing,
    progress: Option<watch::Receiver<Progress>>,
    order: Option<Order>,
    /// Set when all but the last is copied.
    mover: Option<Arc<Mover>>,
}

/// Where the store goes, and who wants it.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) settings: StoreSettings,
    pub(super) by: By,
}

impl Moving {
    /// `earlier` is what came of a move by which this store became the gateway's.
    pub(super) fn new(
        (origin, store, from): (OriginOf, &Arc<dyn Store>, StoreSettings),
        folder: PathBuf,
        clock: SharedClock,
        earlier: Option<Standing>,
    ) -> Arc<Self> {
        let standing = earlier.unwrap_or(Standing { state: "none", ..Standing::default() });
        let state = Mutex::new(State { standing, ..State::default() });
        let store = Arc::downgrade(store);
        Arc::new(Self { origin, from, folder, clock, store, home: Handle::current(), state, ready: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the gateway should turn to the other store.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Turns to the other store, with nothing under way any more: how the move stands then, and what was ordered.
    pub(super) async fn switch(&self) -> (Standing, Option<Order>) {
        let (mover, order) = {
            let mut state = self.state();
            (state.mover.take(), state.order.clone())
        };
        let outcome = match &mover {
            Some(mover) => mover.switch().await.map_err(|error| error.to_string()),
            None => Err("nothing is ready to be switched".to_owned()),
        };
        if let Err(error) = &outcome {
            self.note_failed(order.as_ref(), error).await;
        }
        let mut state = self.state();
        state.progress = None;
        match outcome {
            Ok(moved) => {
                state.standing = Standing { state: "done", moved: Some(moved), ..state.standing.clone() };
                (state.standing.clone(), order)
            }
            Err(error) => {
                tracing::error!(error, "the store was not moved; the gateway goes on with the one it has");
                state.fail(error);
                (state.standing.clone(), None)
            }
        }
    }

    /// Notes in the audit log that what a person ordered came to nothing.
    async fn note_failed(&self, order: Option<&Order>, error: &str) {
        let (Some(order), Some(store)) = (order, self.store.upgrade()) else { return };
        let (at, object_id) = (self.clock.now(), order.settings.shown());
        let (verb, result) = ("move".to_owned(), format!("failed: {error}"));
        let deed =
            Deed { at, by: order.by.clone(), verb, object: "store", object_id, count: 1, result, ..Deed::default() };
        if let Err(error) = store.audit(deed).await {
            tracing::error!(%error, "no entry in the audit log: the store was not moved");
        }
    }

    /// Begins or ends the alarm of a move that was begun and does not go on: its log of changes grows.
    pub(super) async fn look(&self, alarms: &Alarms) {
        let goes_on = matches!(self.state().standing.state, "running" | "switching");
        match (self.origin)().begun().await {
            Ok(Some(begun)) if !goes_on && begun.stage == Stage::Moved => {
                let message = format!(
                    "the store of this gateway was moved to {}, and that one counts: nothing is taken here any more; give \
                     [store] url its address, and start the gateway anew",
                    begun.mark.other
                );
                alarms.clear("move", "");
                alarms.raise("moved", "", &message);
            }
            Ok(Some(begun)) if !goes_on => {
                let (to, at) = (begun.mark.other, begun.mark.begun_at);
                let message = format!(
                    "a move of the store to {to} was begun at {at} and does not go on: begin it again with `omgate store move \
                     --to`, or give it up with `--give-up`; until then every change is noted for it"
                );
                alarms.raise("move", "", &message);
            }
            Ok(_) => alarms.clear("move", ""),
            Err(error) => tracing::debug!(%error, "whether the store is being moved could not be read"),
        }
    }

    async fn copy(&self, settings: StoreSettings, progress: watch::Sender<Progress>) -> Result<Mover, String> {
        let destination = open::destination(settings).await.map_err(|error| error.to_string())?;
        let mover = Mover::new((self.origin)(), destination, Arc::clone(&self.clock), progress);
        mover.copy().await.map_err(|error| error.to_string())?;
        Ok(mover)
    }
}

impl State {
    /// That nothing is being moved already.
    fn is_free(&self) -> Result<(), String> {
        let is_moving = matches!(self.standing.state, "running" | "switching");
        if is_moving { Err(format!("the store is being moved to {} already", self.standing.to)) } else { Ok(()) }
    }

    fn fail(&mut self, error: String) {
        self.progress = None;
        self.order = None;
        self.standing = Standing { state: "failed", error: Some(error), ..self.standing.clone() };
    }
}

/// A move as a gateway's people order it.
pub(super) struct Desk(pub(super) Arc<Moving>);

impl Desk {
    /// The store at an address, which must be another one.
    fn destination(&self, to: &str) -> Result<StoreSettings, String> {
        let settings = config::store_at(to, &self.0.folder).map_err(|reason| format!("the address {reason}"))?;
        let origin = (self.0.origin)().shown();
        let is_itself = open::shown(&settings) == origin;
        if is_itself { Err(format!("{origin} is the store itself; name another one")) } else { Ok(settings) }
    }
}

impl Move for Desk {
    fn aim(&self, to: &str) -> Result<String, String> {
        let settings = self.destination(to)?;
        self.0.state().is_free()?;
        Ok(settings.shown())
    }

    fn begin(&self, to: &str, by: By) -> Result<Standing, String> {
        let settings = self.destination(to)?;
        let progress = watch::Sender::new(Progress::default());
        let standing = {
            let mut state = self.0.state();
            state.is_free()?;
            state.progress = Some(progress.subscribe());
            state.order = Some(Order { settings: settings.clone(), by });
            state.standing = Standing {
                state: "running",
                to: settings.shown(),
                begun_at: Some(self.0.clock.now()),
                ..Standing::default()
            };
            state.standing.clone()
        };
        tracing::info!(to = standing.to, "the store is being moved");
        let moving = Arc::clone(&self.0);
        self.0.home.spawn(async move {
            let copied = moving.copy(settings, progress).await;
            if let Err(error) = &copied {
                let order = moving.state().order.clone();
                moving.note_failed(order.as_ref(), error).await;
            }
            let mut state = moving.state();
            match copied {
                Ok(mover) => {
                    state.mover = Some(Arc::new(mover));
                    state.standing.state = "switching";
                    moving.ready.notify_one();
                }
                Err(error) => {
                    tracing::error!(error, "the store was not moved");
                    state.fail(error);
                }
            }
        });
        Ok(standing)
    }

    fn look<'a>(&'a self, to: &'a str) -> BoxFuture<'a, Result<Outlook, String>> {
        Box::pin(async move {
            let to = config::store_at(to, &self.0.folder).map_err(|reason| format!("the address {reason}"))?;
            open::outlook(&self.0.from, &to).await.map_err(|error| error.to_string())
        })
    }

    fn standing(&self) -> Standing {
        let state = self.0.state();
        let progress = state.progress.as_ref().map(|progress| progress.borrow().clone());
        Standing { progress, ..state.standing.clone() }
    }

    fn give_up(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async move {
            if matches!(self.0.state().standing.state, "running" | "switching") {
                return Err("the move is under way: stop the gateway, or wait until the move has failed".to_owned());
            }
            match Mover::give_up(&*(self.0.origin)()).await {
                Ok(Some(mark)) => Ok(mark.other),
                Ok(None) => Err("no move was begun".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}
