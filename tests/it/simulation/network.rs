//! Target systems that fault by a seed, and remember what they took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use omgate::call::Call;
use omgate::deliver::{Target, Transport};
use omgate::outcome::{Exchange, Response};

use super::law::{self, Law};
use super::scene;
use super::steps::{Mood, mixed};

/// What a call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meets {
    /// An answer with this status after so many milliseconds; taken if it is 200.
    Answer { status: u16, retry_after: Option<u64>, after_ms: u64 },
    /// Nobody listens.
    NoConnection,
    /// No answer within the call's timeout, or one that drips until then.
    Silence { taken: bool },
    /// An answer that breaks off.
    Cut,
    /// The network brings it twice.
    Twice,
}

/// The network and all that is reached over it.
pub(crate) struct Network {
    pub(crate) law: Arc<Law>,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    moods: BTreeMap<&'static str, Mood>,
    calls: BTreeMap<String, u64>,
    met: BTreeMap<String, u64>,
    /// Destination, record and version.
    taken: Vec<(String, u64, u64)>,
}

impl Network {
    pub(crate) fn new(law: Arc<Law>, seed: u64) -> Self {
        Self { law, seed, state: Mutex::default() }
    }

    pub(crate) fn set(&self, system: &'static str, mood: Mood) {
        self.state.lock().unwrap().moods.insert(system, mood);
    }

    /// What calls met, by kind.
    pub(crate) fn met(&self) -> BTreeMap<String, u64> {
        self.state.lock().unwrap().met.clone()
    }

    /// What was taken, in order: destination, record, version.
    pub(crate) fn taken(&self) -> Vec<(String, u64, u64)> {
        self.state.lock().unwrap().taken.clone()
    }

    fn meets(&self, call: &Call, key: &str) -> Meets {
        let mut state = self.state.lock().unwrap();
        let system = if call.url.reveal().contains("crm") { "crm" } else { "erp" };
        let number = state.calls.entry(key.to_owned()).or_default();
        *number += 1;
        let dice = mixed(self.seed ^ hash(key) ^ number.wrapping_mul(0x9e37));
        let (_, _, version) = scene::carried(&call.body);
        let answer = |status| Meets::Answer { status, retry_after: None, after_ms: dice % 300 };
        let taken = if scene::is_poison(version) { answer(422) } else { answer(200) };
        let mood = state.moods.get(system).copied().unwrap_or(Mood::Up);
        let meets = match mood {
            Mood::Up => taken,
            Mood::Down => Meets::NoConnection,
            Mood::Busy => Meets::Answer { status: 503, retry_after: Some(1 + dice % 40), after_ms: dice % 300 },
            Mood::Silent => Meets::Silence { taken: !scene::is_poison(version) },
            Mood::Locked => answer(401),
            Mood::Flaky => flaky(dice, taken),
            Mood::Moody => match flaky(dice, taken) {
                Meets::Answer { status: 404, .. } => taken,
                meets => meets,
            },
        };
        let name = format!("{meets:?}").split([' ', '{']).next().unwrap_or_default().to_owned();
        *state.met.entry(name).or_default() += 1;
        if law::is_taken(meets) {
            let (_, record, _) = scene::carried(&call.body);
            let url = call.url.reveal();
            state.taken.push((url.rsplit('/').next().unwrap_or_default().to_owned(), record, version));
        }
        meets
    }
}

fn flaky(dice: u64, taken: Meets) -> Meets {
    let answer = |status, retry_after| Meets::Answer { status, retry_after, after_ms: dice / 128 % 400 };
    let is_taken = matches!(taken, Meets::Answer { status: 200, .. });
    match dice / 1024 % 100 {
        0..8 => answer(503, None),
        8..14 => answer(429, Some(1 + dice / 64 % 20)),
        14..20 => answer(500, None),
        20..26 => Meets::NoConnection,
        26..32 => Meets::Silence { taken: is_taken },
        32..37 => Meets::Silence { taken: false },
        37..44 if is_taken => Meets::Cut,
        44..50 if is_taken => Meets::Answer { status: 200, retry_after: None, after_ms: 4_900 },
        50..54 if is_taken => Meets::Twice,
        54..58 => answer(404, None),
        58 => answer(401, None),
        _ => taken,
    }
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Transport for Network {
    fn send<'a>(&'a self, _: &'a Target, call: &'a Call) -> BoxFuture<'a, Exchange> {
        Box::pin(async move {
            let key = header(call, "idempotency-key");
            let delivery = self.law.sent(call, &key);
            let meets = self.meets(call, &key);
            self.law.meets(delivery, meets);
            let exchange = match meets {
                Meets::Answer { status, retry_after, after_ms } => {
                    pass(after_ms).await;
                    let headers = retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
                    let body = bytes::Bytes::from_static(b"{}");
                    Exchange::Answered(Response { status, headers: headers.into_iter().collect(), body, cut: false })
                }
                Meets::Twice => {
                    pass(10).await;
                    Exchange::Answered(Response {
                        status: 200,
                        headers: Vec::new(),
                        body: bytes::Bytes::new(),
                        cut: false,
                    })
                }
                Meets::NoConnection => Exchange::NotSent { reason: "no connection".to_owned() },
                Meets::Silence { .. } => {
                    pass(u64::try_from(call.timeout.as_millis()).unwrap()).await;
                    Exchange::NoAnswer { reason: "no whole answer in time".to_owned() }
                }
                Meets::Cut => {
                    pass(30).await;
                    Exchange::NoAnswer { reason: "the answer broke off".to_owned() }
                }
            };
            self.law.answered(delivery);
            exchange
        })
    }
}

pub(crate) fn header(call: &Call, name: &str) -> String {
    let found = call.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.reveal()).unwrap_or_default()
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
