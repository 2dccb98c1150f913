//! Commands of one kind that wait: as many as wait are run in one transaction, each answered by itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::work::Engine;
use crate::store::{StoreError, StoreResult};

/// The most commands in one transaction.
const GROUP_MAX: usize = 64;
/// The most of what they weigh: keys that are locked, rows that are written.
const GROUP_WEIGHT_MAX: usize = 300;
/// The most bytes in one transaction, unless one command alone has more.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// A kind of command that goes in groups.
pub(super) trait Group: Send + Sync + 'static {
    /// What is asked.
    type Command: Send + Sync + 'static;
    /// What is answered.
    type Answer: Send + 'static;

    /// How much one weighs: keys it locks, rows it writes.
    fn weight(command: &Self::Command) -> usize;

    /// What one holds in memory, in bytes.
    fn bytes(command: &Self::Command) -> usize;

    /// Runs some in one transaction; an answer for each, or one error for all.
    fn run<'a>(
        engine: &'a Arc<Engine>,
        commands: Vec<&'a Self::Command>,
    ) -> BoxFuture<'a, StoreResult<Vec<StoreResult<Self::Answer>>>>;
}

/// A command that waits, and who waits for its answer.
struct Waiting<G: Group> {
    command: G::Command,
    reply: oneshot::Sender<StoreResult<G::Answer>>,
}

/// A queue and those who work on it.
pub(super) struct Queue<G: Group> {
    sender: std::sync::Mutex<Option<mpsc::UnboundedSender<Waiting<G>>>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    engine: Arc<Engine>,
    commands_max: usize,
    bytes_max: usize,
}

impl<G: Group> Queue<G> {
    /// A queue with so many at work at once: while the commit of one is on its way, others go on.
    pub(super) fn new(engine: &Arc<Engine>, workers: usize, commands_max: usize, bytes_max: usize) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let work = |_| tokio::spawn(work::<G>(Arc::clone(engine), Arc::clone(&receiver)));
        Self {
            sender: std::sync::Mutex::new(Some(sender)),
            workers: Mutex::new((0..workers).map(work).collect()),
            engine: Arc::clone(engine),
            commands_max,
            bytes_max,
        }
    }

    /// Queues a command; its answer.
    pub(super) fn ask(&self, command: G::Command) -> BoxFuture<'static, StoreResult<G::Answer>> {
        let (reply, answer) = oneshot::channel();
        let queued = self.enqueue(Waiting { command, reply });
        Box::pin(async move {
            queued?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    fn enqueue(&self, waiting: Waiting<G>) -> StoreResult<()> {
        let figures = &self.engine.figures;
        let size = G::bytes(&waiting.command);
        let queued = figures.queued.fetch_add(1, Ordering::Relaxed);
        let bytes = figures.queued_bytes.fetch_add(size, Ordering::Relaxed);
        let too_large = queued > 0 && bytes.saturating_add(size) > self.bytes_max;
        let sent = if queued >= self.commands_max || too_large {
            Err(StoreError::Overloaded)
        } else {
            let sender = self.sender.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match &*sender {
                Some(sender) => sender.send(waiting).map_err(|_| StoreError::Closed),
                None => Err(StoreError::Closed),
            }
        };
        if sent.is_err() {
            figures.queued.fetch_sub(1, Ordering::Relaxed);
            figures.queued_bytes.fetch_sub(size, Ordering::Relaxed);
        }
        sent
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        drop(self.sender.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
    }

    /// Resolves when all that was queued is answered, after [`Queue::close`].
    pub(super) async fn ended(&self) {
        for worker in self.workers.lock().await.drain(..) {
            // A worker that panicked has ended too; those who waited for it were told.
            let _ = worker.await;
        }
    }
}

async fn work<G: Group>(engine: Arc<Engine>, queue: Arc<Mutex<mpsc::UnboundedReceiver<Waiting<G>>>>) {
    while let Some(group) = next_group(&queue).await {
        let (bytes, count) = (group.iter().map(|one| G::bytes(&one.command)).sum(), group.len());
        serve::<G>(&engine, group).await;
        engine.figures.queued.fetch_sub(count, Ordering::Relaxed);
        engine.figures.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Whatever waits, up to the bounds; none when the queue is closed and empty.
async fn next_group<G: Group>(queue: &Mutex<mpsc::UnboundedReceiver<Waiting<G>>>) -> Option<Vec<Waiting<G>>> {
    let mut queue = queue.lock().await;
    let first = queue.recv().await?;
    let (mut weight, mut bytes) = (G::weight(&first.command), G::bytes(&first.command));
    let mut group = vec![first];
    while group.len() < GROUP_MAX && weight < GROUP_WEIGHT_MAX && bytes < GROUP_BYTES_MAX {
        let Ok(next) = queue.try_recv() else { break };
        weight += G::weight(&next.command);
        bytes += G::bytes(&next.command);
        group.push(next);
    }
    Some(group)
}

/// Runs a group, and each of it alone when the group was refused: then the bad one harms itself alone.
async fn serve<G: Group>(engine: &Arc<Engine>, group: Vec<Waiting<G>>) {
    let outcome = G::run(engine, group.iter().map(|waiting| &waiting.command).collect()).await;
    match outcome {
        Ok(answers) => {
            for (waiting, answer) in group.into_iter().zip(answers) {
                // Nobody waits any more: what was done stays done.
                let _ = waiting.reply.send(answer);
            }
        }
        Err(StoreError::Refused(_)) if group.len() > 1 => {
            for waiting in group {
                let outcome = G::run(engine, vec![&waiting.command]).await;
                let answer = outcome.and_then(|answers| answers.into_iter().next().unwrap_or(Err(StoreError::Closed)));
                let _ = waiting.reply.send(answer);
            }
        }
        Err(error) => {
            for waiting in group {
                let _ = waiting.reply.send(Err(error.clone()));
            }
        }
    }
}
