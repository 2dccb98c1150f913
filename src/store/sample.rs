//! What is measured every few minutes, so that it is known how things went: the accounts, which all gateways share, and how
//! fast each gateway acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Backlog, Ledger};
use crate::clock::Timestamp;

/// The time from one sample to the next.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(300);
/// How long samples are kept.
pub(super) const SAMPLES_KEPT: Duration = Duration::from_secs(8 * 86_400);
/// What stands in the place of a gateway's name in the row that all of them share.
const SHARED: &str = "";

/// What was measured at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// The moment: a whole number of [`SAMPLE_EVERY`].
    pub at: Timestamp,
    /// What all gateways share; none where nobody could read it then.
    pub figures: Option<Figures>,
    /// By gateway, how fast it acknowledged since the sample before.
    pub acks: BTreeMap<String, Acks>,
}

/// The accounts at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Notifications received so far, by source.
    pub sources: BTreeMap<String, i64>,
    /// How the deliveries of each destination stood.
    pub destinations: BTreeMap<String, Flow>,
    /// Calls begun so far.
    pub attempts: i64,
    /// Those with an unknown outcome.
    pub attempts_unknown: i64,
    /// When the oldest delivery was made that was not settled.
    pub oldest_unsettled: Option<i64>,
}

/// How the deliveries of a destination stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flow {
    /// Delivered so far.
    pub delivered: i64,
    /// Dead then.
    pub dead: i64,
    /// Waiting, blocked, in flight or held then.
    pub waiting: i64,
}

/// How fast a gateway acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Acks {
    /// How many answers it gave.
    pub count: u64,
    /// Half of them were no slower.
    pub p50_ms: f64,
    /// 99 of a hundred were no slower.
    pub p99_ms: f64,
}

impl Figures {
    /// What the accounts say now.
    #[must_use]
    pub fn of(ledger: &Ledger, backlog: &Backlog) -> Self {
        let sources = ledger.sources.iter().map(|(name, counts)| (name.clone(), counts.received)).collect();
        let flow = |counts: &super::DeliveryCounts| Flow {
            delivered: counts.delivered,
            dead: counts.dead,
            waiting: counts.waiting + counts.blocked + counts.in_flight + counts.held,
        };
        Self {
            sources,
            destinations: ledger.destinations.iter().map(|(name, counts)| (name.clone(), flow(counts))).collect(),
            attempts: ledger.attempts.total,
            attempts_unknown: ledger.attempts.unknown,
            oldest_unsettled: backlog.oldest_unsettled.values().map(|at| at.0).min(),
        }
    }
}

impl Sample {
    /// Its rows: whose, and what was measured as text.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let shared = self
            .figures
            .iter()
            .filter_map(|figures| serde_json::to_string(figures).ok().map(|figures| (SHARED.to_owned(), figures)));
        let own = self
            .acks
            .iter()
            .filter_map(|(gateway, acks)| serde_json::to_string(acks).ok().map(|figures| (gateway.clone(), figures)));
        shared.chain(own).collect()
    }

    /// Samples of their rows, which stand in the order of their moments. What is not understood is left out.
    pub(super) fn of_rows(rows: impl IntoIterator<Item = (i64, String, String)>) -> Vec<Self> {
        let mut samples: Vec<Self> = Vec::new();
        for (at, gateway, figures) in rows {
            if samples.last().is_none_or(|last| last.at.0 != at) {
                samples.push(Self { at: Timestamp(at), ..Self::default() });
            }
            let Some(sample) = samples.last_mut() else { continue };
            if gateway == SHARED {
                sample.figures = serde_json::from_str(&figures).ok();
            } else if let Ok(acks) = serde_json::from_str(&figures) {
                sample.acks.insert(gateway, acks);
            }
        }
        samples
    }

    /// Before this moment samples are not kept.
    pub(super) fn kept_since(&self) -> i64 {
        let kept = i64::try_from(SAMPLES_KEPT.as_millis()).unwrap_or(i64::MAX);
        self.at.0.saturating_sub(kept)
    }
}
