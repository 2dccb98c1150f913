//! The series of the metrics that a configuration makes known: each begins at zero, so that its first increase is seen.

use crate::config::Alarming;
use crate::dispatch::Plan;
use crate::telemetry::Metrics;

/// Begins those that have not begun.
pub(super) fn begin<'n>(
    metrics: &Metrics,
    sources: impl Iterator<Item = &'n str>,
    plan: &'n Plan,
    alarming: &'n Alarming,
) {
    let channels = alarming.channels.iter().map(|channel| channel.name.as_str());
    metrics.begin(sources, plan.destinations.keys().map(String::as_str), channels);
}
