//! Who is told of alarms: each channel has a queue of its own, so that one that does not answer holds up nobody.
//!
//! Nothing here is in anybody's way: the gateway raises alarms whether or not they are heard.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::admin::alarms::{Heard, Herald, Tried};
use crate::clock::{SharedClock, Timestamp};
use crate::config::{self, Alarming};
use crate::deliver::notice::{Channel, Notice};
use crate::issue::without_values;
use crate::telemetry::{Alarm, Alarms, Event, Metrics, News, Told};

/// How often it is looked what is to be told, when nothing changed.
const LOOK: Duration = Duration::from_secs(1);
/// How long it is waited before each further try to hand over a notice.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120)];
/// So many notices wait for a channel at most.
const WAITING_MAX: usize = 100;
/// So many alarms stand in one notice; of more the number is told.
const ALARMS_MAX: usize = 50;
/// Our own namespace of notices' ids (a fixed random UUID).
const NAMESPACE: uuid::Uuid = uuid::Uuid::from_u128(0x1f0c_5e8e_77b4_4f9b_8a53_0c1d_94ab_e6f2);

/// What the configuration in force says of alarms.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    pub(super) alarming: Alarming,
    pub(super) gateway: String,
}

/// Tells everybody who is to be told.
pub(super) struct Heralds {
    alarms: Arc<Alarms>,
    metrics: Arc<Metrics>,
    clock: SharedClock,
    telling: Arc<ArcSwap<Telling>>,
    posts: Mutex<BTreeMap<String, Post>>,
}

/// A channel, what it was told, and its queue.
struct Post {
    told: Told,
    queue: Arc<Queue>,
    worker: JoinHandle<()>,
}

/// What waits to be handed over.
struct Queue {
    name: String,
    channel: ArcSwap<Channel>,
    waiting: Mutex<VecDeque<Notice>>,
    rung: Notify,
    standing: Mutex<Standing>,
    metrics: Arc<Metrics>,
    clock: SharedClock,
}

/// How it went so far.
#[derive(Clone, Debug, Default)]
struct Standing {
    sent_at: Option<Timestamp>,
    failed_at: Option<Timestamp>,
    error: Option<String>,
}

impl Heralds {
    pub(super) fn new(
        alarms: Arc<Alarms>,
        metrics: Arc<Metrics>,
        clock: SharedClock,
        telling: Arc<ArcSwap<Telling>>,
    ) -> Self {
        Self { alarms, metrics, clock, telling, posts: Mutex::default() }
    }

    fn posts(&self) -> MutexGuard<'_, BTreeMap<String, Post>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells without end.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            self.look();
            // What begins at the same moment is told together.
            let _ = tokio::time::timeout(LOOK, self.alarms.changed()).await;
            tokio::time::sleep(LOOK / 10).await;
        }
    }

    /// Looks once what is to be told to whom, by the configuration in force.
    fn look(&self) {
        let telling = self.telling.load_full();
        let Telling { alarming, gateway } = &*telling;
        self.alarms.forget(alarming.calm);
        let all = self.alarms.all();
        let now = self.clock.monotonic();
        let mut posts = self.posts();
        posts.retain(|name, post| {
            let stays = alarming.channels.iter().any(|channel| channel.name == *name);
            if !stays {
                post.worker.abort();
            }
            stays
        });
        for notify in &alarming.channels {
            let post = posts.entry(notify.name.clone()).or_insert_with(|| self.begin(notify));
            post.queue.channel.store(Arc::new(notify.channel.clone()));
            let heard: Vec<Alarm> = all.iter().filter(|alarm| notify.hears(alarm.name)).cloned().collect();
            for news in post.told.hear(&heard, now, alarming.digest) {
                post.queue.add(notice(&news, gateway, self.clock.now()));
            }
        }
    }

    fn begin(&self, notify: &config::Notify) -> Post {
        let queue = Arc::new(Queue {
            name: notify.name.clone(),
            channel: ArcSwap::from_pointee(notify.channel.clone()),
            waiting: Mutex::default(),
            rung: Notify::new(),
            standing: Mutex::default(),
            metrics: Arc::clone(&self.metrics),
            clock: Arc::clone(&self.clock),
        });
        Post { told: Told::default(), worker: tokio::spawn(Arc::clone(&queue).work()), queue }
    }
}

impl Drop for Heralds {
    fn drop(&mut self) {
        self.posts().values().for_each(|post| post.worker.abort());
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Notice>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest gives way: what stands is told again by the digest.
    fn add(&self, notice: Notice) {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            waiting.pop_front();
            self.metrics.noticed(&self.name, "dropped");
            tracing::warn!(channel = self.name, "a notice of alarms was dropped: too many wait");
        }
        waiting.push_back(notice);
        drop(waiting);
        self.rung.notify_one();
    }

    async fn work(self: Arc<Self>) {
        loop {
            let next = self.waiting().pop_front();
            match next {
                Some(notice) => self.hand_over(&notice).await,
                None => self.rung.notified().await,
            }
        }
    }

    /// Tries, and tries again after a while.
    async fn hand_over(&self, notice: &Notice) {
        let mut waits = AGAIN.into_iter();
        loop {
            match self.once(notice).await {
                Ok(()) => return self.metrics.noticed(&self.name, "sent"),
                Err(error) => match waits.next() {
                    Some(wait) => {
                        tracing::info!(channel = self.name, %error, "a notice of alarms did not arrive; again in {} s", wait.as_secs());
                        tokio::time::sleep(wait).await;
                    }
                    None => {
                        tracing::warn!(channel = self.name, %error, "a notice of alarms did not arrive, and is given up");
                        return self.metrics.noticed(&self.name, "failed");
                    }
                },
            }
        }
    }

    async fn once(&self, notice: &Notice) -> Result<(), String> {
        let channel = self.channel.load_full();
        let sent = channel.send(notice).await;
        let now = self.clock.now();
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        match &sent {
            Ok(()) => *standing = Standing { sent_at: Some(now), ..Standing::default() },
            Err(error) => {
                standing.failed_at = Some(now);
                standing.error = Some(error.clone());
            }
        }
        sent
    }
}

impl Herald for Heralds {
    fn channels(&self) -> Vec<Heard> {
        let telling = self.telling.load_full();
        let posts = self.posts();
        let one = |notify: &config::Notify| {
            let standing = posts.get(&notify.name).map(|post| {
                let standing = post.queue.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
                (standing, post.queue.waiting().len())
            });
            let (Standing { sent_at, failed_at, error }, waiting) = standing.unwrap_or_default();
            let alarms = notify.alarms.clone().map(|alarms: BTreeSet<String>| alarms.into_iter().collect());
            let (name, kind) = (notify.name.clone(), notify.channel.kind());
            Heard { name, kind, alarms, waiting, sent_at, failed_at, error }
        };
        telling.alarming.channels.iter().map(one).collect()
    }

    fn test<'a>(&'a self, only: Option<&'a str>) -> BoxFuture<'a, Vec<Tried>> {
        async move {
            let telling = self.telling.load_full();
            let news = News { event: Event::Test, alarms: Vec::new() };
            let notice = notice(&news, &telling.gateway, self.clock.now());
            let chosen = telling.alarming.channels.iter().filter(|notify| only.is_none_or(|name| notify.name == name));
            let tries = chosen.map(|notify| async {
                let error = notify.channel.send(&notice).await.err();
                Tried { name: notify.name.clone(), kind: notify.channel.kind(), error }
            });
            join_all(tries).await
        }
        .boxed()
    }
}

/// What is told, without what records or answers may have brought into it.
fn notice(news: &News, gateway: &str, at: Timestamp) -> Notice {
    let left = news.alarms.len().saturating_sub(ALARMS_MAX);
    let clean = |alarm: &Alarm| Alarm { message: without_values(&alarm.message), ..alarm.clone() };
    let shown = News { event: news.event, alarms: news.alarms.iter().take(ALARMS_MAX).map(clean).collect() };
    let mut text = shown.text();
    if left > 0 {
        text.push_str(&format!("and {left} more\n"));
    }
    let title = news.title(gateway);
    let alarms: Vec<_> = shown
        .alarms
        .iter()
        .map(|Alarm { name, subject, message, since, ended_at }| {
            json!({"alarm": name, "subject": subject, "message": message, "since": since, "ended_at": ended_at})
        })
        .collect();
    let mut json = json!({
        "event": news.event, "gateway": gateway, "at": at, "title": title, "text": text, "alarms": alarms, "more": left,
    });
    let id = uuid::Uuid::new_v5(&NAMESPACE, json.to_string().as_bytes()).to_string();
    if let Some(json) = json.as_object_mut() {
        json.insert("id".to_owned(), json!(id));
    }
    Notice { json: json.to_string().into(), id, title, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_has_no_values_in_it_and_is_bounded() {
        let alarm = |number: usize| Alarm {
            name: "paused",
            subject: format!("erp-{number}"),
            message: "it answered 401: \"no such user jane\"; its deliveries wait".to_owned(),
            since: Timestamp(0),
            ended_at: None,
        };
        let news = News { event: Event::Begin, alarms: (0..ALARMS_MAX + 3).map(alarm).collect() };
        let notice = notice(&news, "gate-1", Timestamp(1_000));
        assert_eq!(notice.title, "omgate gate-1: 53 alarms begin");
        assert!(notice.text.ends_with("and 3 more\n"), "{}", notice.text);
        let json: serde_json::Value = serde_json::from_slice(&notice.json).unwrap();
        assert!(!notice.text.contains("jane") && !json.to_string().contains("jane"));
        assert_eq!(json["alarms"].as_array().unwrap().len(), ALARMS_MAX);
        assert_eq!(json["alarms"][0]["message"], "it answered 401: …; its deliveries wait");
        assert_eq!((&json["event"], &json["more"], &json["id"]), (&json!("begin"), &json!(3), &json!(notice.id)));
    }
}
