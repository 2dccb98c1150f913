//! Entries of the audit log that the store could not take: kept in their order, and tried again until they stand there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::{Deed, Store};

/// So many are kept; of more the log alone knows.
const KEPT_MAX: usize = 10_000;
/// How often they are tried.
const AGAIN: Duration = Duration::from_secs(1);

/// What stands in no audit log yet.
#[derive(Clone, Debug, Default)]
pub struct Unwritten(Arc<Mutex<VecDeque<Deed>>>);

impl Unwritten {
    fn all(&self) -> MutexGuard<'_, VecDeque<Deed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Keeps an entry; whoever keeps the first sees to it that all are written.
    pub(super) fn keep(&self, deed: Deed, store: &Arc<dyn Store>) {
        let mut all = self.all();
        if all.len() >= KEPT_MAX {
            return;
        }
        all.push_back(deed);
        if all.len() == 1 {
            tokio::spawn(self.clone().write(Arc::clone(store)));
        }
    }

    async fn write(self, store: Arc<dyn Store>) {
        loop {
            let Some(first) = self.all().front().cloned() else { return };
            if store.audit(first).await.is_ok() {
                let mut all = self.all();
                all.pop_front();
                if all.is_empty() {
                    tracing::info!("the audit log has every entry again");
                    return;
                }
            } else {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
