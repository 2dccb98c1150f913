//! How the store comes back by itself when the database failed.
//!
//! One small write proves little: it finds room in a page that is there, where an envelope needs new ones. So a trial takes
//! as much new space as what failed, in a table that is undone again; and after a full disk it must go well for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::failure::Failure;
use super::session::{Cells, Manner, Session, args, read};
use super::shape;
use super::work::{COMMIT_MAX, Engine, PROBE_EVERY, random};
use crate::store::repeats::Repeats;
use crate::store::{Health, StoreError};

/// Trials go well for so long before the database is trusted again that could not be written.
const HOLD: Duration = Duration::from_secs(2);
/// How much a trial takes at least, and at most.
const TRIAL_BYTES: usize = 1 << 20;
const TRIAL_BYTES_MAX: usize = 16 << 20;
/// What a row of a trial holds: so little that nothing is compressed or put aside.
const ROW_BYTES: usize = 1_900;

/// What is known of failures.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// The most that a command wrote which failed since the database last worked.
    bytes: AtomicUsize,
    /// Whether the database was reached and could not be written: a connection that breaks says nothing of its disk.
    unwritable: AtomicBool,
    faults: Repeats,
}

impl Engine {
    /// Notes what a failure says of the database as a whole; `bytes` is about what the command wrote.
    pub(super) async fn take_note(&self, failure: &Failure, bytes: usize) {
        match failure {
            Failure::Lost(reason) | Failure::Gone(reason) => {
                self.losses.bytes.fetch_max(bytes, Ordering::Relaxed);
                self.losses.unwritable.fetch_or(matches!(failure, Failure::Gone(_)), Ordering::Relaxed);
                self.fail(reason);
            }
            Failure::Fault(reason) => {
                if self.losses.faults.are_over(reason, self.machine.monotonic()) {
                    tracing::error!(reason, "the database refused a command");
                }
                // What somebody took away is missed by one command today and by others tomorrow.
                if let Ok(Ok(missing)) = timeout(COMMIT_MAX, shape::missing_in(&self.pool)).await
                    && let Some(reason) = shape::incomplete(&missing)
                {
                    self.fail(&reason);
                }
            }
            Failure::Again(reason) => tracing::warn!(reason, "a command was given up"),
            Failure::Rule(_) => {}
        }
    }

    /// Nothing can be written for now.
    pub(super) fn fail(&self, reason: &str) {
        self.health.send_if_modified(|health| {
            if *health != Health::Ready {
                return false;
            }
            tracing::error!(reason, "the database fails: nothing is acknowledged and nothing new is delivered");
            *health = Health::Failing(reason.to_owned());
            true
        });
    }

    /// Brings the store back by itself.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut health = self.health.subscribe();
        // Since when trials go well.
        let mut well_since = None;
        loop {
            if health.wait_for(|health| *health != Health::Ready).await.is_err() {
                return;
            }
            sleep(PROBE_EVERY).await;
            let tried = timeout(COMMIT_MAX, self.try_out()).await;
            match tried.unwrap_or_else(|_| Err(Failure::Lost("the database does not answer".to_owned()))) {
                Ok(()) => {
                    let now = self.machine.monotonic();
                    let hold = if self.losses.unwritable.load(Ordering::Relaxed) { HOLD } else { Duration::ZERO };
                    if now.saturating_sub(*well_since.get_or_insert(now)) >= hold {
                        tracing::info!("the database works again");
                        self.losses.bytes.store(0, Ordering::Relaxed);
                        self.losses.unwritable.store(false, Ordering::Relaxed);
                        self.health.send_replace(Health::Ready);
                        well_since = None;
                    }
                }
                Err(Failure::Rule(StoreError::Closed)) => return,
                Err(failure) => {
                    well_since = None;
                    self.losses.unwritable.fetch_or(matches!(failure, Failure::Gone(_)), Ordering::Relaxed);
                    self.restate(failure);
                }
            }
        }
    }

    /// Says why the database fails now.
    fn restate(&self, failure: Failure) {
        let reason = failure.into_error().to_string();
        let reason = reason.strip_prefix("the store cannot write: ").unwrap_or(&reason).to_owned();
        self.health.send_if_modified(|health| {
            let failing = Health::Failing(reason);
            let changed = *health != failing;
            *health = failing;
            changed
        });
    }

    /// Whether everything is there that commands need, and whether it can be written.
    async fn try_out(&self) -> Result<(), Failure> {
        if let Some(reason) = shape::incomplete(&shape::missing_in(&self.pool).await?) {
            return Err(Failure::Gone(reason));
        }
        match self.take_space().await {
            // Who may not make a table, for whatever reason, has not found out anything.
            Ok(()) | Err(Failure::Fault(_)) => {}
            Err(failure) => return Err(failure),
        }
        self.leave_receipt(random()).await.map(|_| ())
    }

    /// Fills a table of its own where the records are, and undoes it: then its space is free again, with nothing to clear away.
    async fn take_space(&self) -> Result<(), Failure> {
        let mut session = Session::open(&self.pool, Manner::Write).await?;
        let sql = "SELECT has_schema_privilege('omgate', 'CREATE') AND set_config('default_tablespace', coalesce(
                       (SELECT s.spcname FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace
                        WHERE c.oid = 'omgate.notification'::regclass AND has_tablespace_privilege(s.oid, 'CREATE')), ''),
                       true) IS NOT NULL";
        let may = read(&session.query(sql, &[]).await?, Cells::next::<bool>)?;
        if may.first() == Some(&true) {
            let table = format!("trial_{}", random());
            session.query(&format!("CREATE TABLE {table} (filler text NOT NULL)"), &[]).await?;
            let lost = self.losses.bytes.load(Ordering::Relaxed).saturating_mul(2);
            let rows = lost.clamp(TRIAL_BYTES, TRIAL_BYTES_MAX) / ROW_BYTES;
            let sql = format!("INSERT INTO {table} SELECT repeat('x', {ROW_BYTES}) FROM generate_series(1, $1)");
            session.query(&sql, args![INT8 i64::try_from(rows).unwrap_or(i64::MAX)]).await?;
        }
        session.end().await
    }
}
