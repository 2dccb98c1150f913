//! How things went: what was measured every few minutes, as series over the same moments.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::admin::names::Asked;
use crate::admin::question::Question;
use crate::admin::{Admin, api};
use crate::clock::Timestamp;
use crate::store::{Acks, Figures, Flow, SAMPLE_EVERY, Sample, StoreResult};

/// How far back one looks when it is not said, and at most, in hours.
const HOURS: u32 = 24;
const HOURS_MAX: u32 = 8 * 24;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.route("/series", web::get().to(series));
}

/// Which series.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    hours: Option<u32>,
    source: Option<String>,
    destination: Option<String>,
}

/// A value at each moment; none where nothing is known.
type Values<T> = Vec<Option<T>>;

/// The series over one axis of moments; the last is the present one.
#[derive(Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
struct Series {
    step_s: u64,
    at: Vec<Timestamp>,
    sources: BTreeMap<String, SourceSeries>,
    destinations: BTreeMap<String, DestinationSeries>,
    #[schema(value_type = Vec<Option<i64>>)]
    attempts: Values<i64>,
    #[schema(value_type = Vec<Option<i64>>)]
    attempts_unknown: Values<i64>,
    /// How old the oldest was that was not settled.
    #[schema(value_type = Vec<Option<i64>>)]
    oldest_unsettled_s: Values<i64>,
    #[schema(value_type = Vec<Option<u64>>)]
    acks: Values<u64>,
    #[schema(value_type = Vec<Option<f64>>)]
    ack_p50_ms: Values<f64>,
    #[schema(value_type = Vec<Option<f64>>)]
    ack_p99_ms: Values<f64>,
}

#[derive(Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
struct SourceSeries {
    #[schema(value_type = Vec<Option<i64>>)]
    received: Values<i64>,
}

#[derive(Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
struct DestinationSeries {
    #[schema(value_type = Vec<Option<i64>>)]
    delivered: Values<i64>,
    #[schema(value_type = Vec<Option<i64>>)]
    dead: Values<i64>,
    #[schema(value_type = Vec<Option<i64>>)]
    waiting: Values<i64>,
}

/// How things went, as series over the same moments; the last is the present one.
#[utoipa::path(get, path = "/api/v1/series", params(Query), responses((status = 200, body = Series)))]
pub(super) async fn series(admin: web::Data<Admin>, query: Question<Query>) -> HttpResponse {
    let Query { hours, source, destination } = query.into_inner();
    let hours = hours.unwrap_or(HOURS);
    if !(1..=HOURS_MAX).contains(&hours) {
        return api::problem(400, &format!("hours is {hours}: ask for 1 to {HOURS_MAX}, for longer nothing is kept"));
    }
    let asked = Asked { source: source.as_deref(), destination: destination.as_deref(), ..Asked::default() };
    if let Some(fault) = asked.fault(&admin).await {
        return fault;
    }
    api::answer(found(&admin, hours).await.map(|samples| {
        let is_meant = |name: &str, wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| wanted == name);
        let mut series = of_samples(&samples);
        // Who asks for one of them wants no other, of its kind or of the other.
        series.sources.retain(|name, _| is_meant(name, &source) && (source.is_some() || destination.is_none()));
        series
            .destinations
            .retain(|name, _| is_meant(name, &destination) && (destination.is_some() || source.is_none()));
        series
    }))
}

/// One sample for each moment, and one for now.
async fn found(admin: &Admin, hours: u32) -> StoreResult<Vec<Sample>> {
    let now = admin.clock.now();
    let step = i64::try_from(SAMPLE_EVERY.as_millis()).unwrap_or(i64::MAX);
    let first = Timestamp(now.0.saturating_sub(i64::from(hours) * 3_600_000)).step(SAMPLE_EVERY);
    let stored = admin.store.samples(first).await?;
    let (ledger, backlog) = (admin.store.ledger().await?, admin.store.backlog().await?);
    let lately = admin.metrics.ack_times().lately();
    let percentile = |percent| lately.percentile_ms(percent).unwrap_or_default();
    let acks = Acks { count: lately.count(), p50_ms: percentile(50.0), p99_ms: percentile(99.0) };
    let present = Sample {
        at: now,
        figures: Some(Figures::of(&ledger, &backlog)),
        acks: BTreeMap::from([("now".to_owned(), acks)]),
    };
    let mut by_moment: BTreeMap<i64, Sample> = stored.into_iter().map(|sample| (sample.at.0, sample)).collect();
    let mut samples = Vec::new();
    let mut at = first.0;
    while at <= now.0 {
        let empty = || Sample { at: Timestamp(at), ..Sample::default() };
        samples.push(by_moment.remove(&at).unwrap_or_else(empty));
        at += step;
    }
    samples.push(present);
    Ok(samples)
}

/// The series of samples, one for each moment. What is counted is told by how much it rose since the moment before.
fn of_samples(samples: &[Sample]) -> Series {
    let figures = || samples.iter().map(|sample| sample.figures.as_ref());
    let names =
        |of: fn(&Figures) -> Vec<&String>| -> BTreeSet<String> { figures().flatten().flat_map(of).cloned().collect() };
    let source = |name: String| {
        let received =
            rises(figures().map(|figures| figures.map(|figures| figures.sources.get(&name).copied().unwrap_or(0))));
        (name, SourceSeries { received })
    };
    let destination = |name: String| {
        let flow = |of: fn(&Flow) -> i64| -> Values<i64> {
            let of = |figures: &Figures| figures.destinations.get(&name).map_or(0, of);
            figures().map(|figures| figures.map(of)).collect()
        };
        let delivered = rises(flow(|flow| flow.delivered).into_iter());
        let (dead, waiting) = (flow(|flow| flow.dead), flow(|flow| flow.waiting));
        (name, DestinationSeries { delivered, dead, waiting })
    };
    let oldest = |sample: &Sample| {
        let oldest = sample.figures.as_ref()?.oldest_unsettled;
        Some(oldest.map_or(0, |oldest| sample.at.0.saturating_sub(oldest).max(0) / 1_000))
    };
    // Of several gateways the slowest counts.
    let slowest = |of: fn(&Acks) -> f64| -> Values<f64> {
        let of = |sample: &Sample| sample.acks.values().filter(|acks| acks.count > 0).map(of).reduce(f64::max);
        samples.iter().map(of).collect()
    };
    Series {
        step_s: SAMPLE_EVERY.as_secs(),
        at: samples.iter().map(|sample| sample.at).collect(),
        sources: names(|figures| figures.sources.keys().collect()).into_iter().map(source).collect(),
        destinations: names(|figures| figures.destinations.keys().collect()).into_iter().map(destination).collect(),
        attempts: rises(figures().map(|figures| figures.map(|figures| figures.attempts))),
        attempts_unknown: rises(figures().map(|figures| figures.map(|figures| figures.attempts_unknown))),
        oldest_unsettled_s: samples.iter().map(oldest).collect(),
        acks: samples
            .iter()
            .map(|sample| (!sample.acks.is_empty()).then(|| sample.acks.values().map(|acks| acks.count).sum()))
            .collect(),
        ack_p50_ms: slowest(|acks| acks.p50_ms),
        ack_p99_ms: slowest(|acks| acks.p99_ms),
    }
}

/// By how much something that is counted rose from each moment to the next; none where one of both is not known.
fn rises(counts: impl Iterator<Item = Option<i64>>) -> Values<i64> {
    let mut before = None;
    counts
        .map(|count| {
            let rise = count.zip(before).map(|(count, before)| i64::max(count - before, 0));
            before = count;
            rise
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(minutes: i64, received: i64, waiting: i64) -> Sample {
        let flow = Flow { delivered: received - waiting, dead: 1, waiting };
        let figures = Figures {
            sources: BTreeMap::from([("orders".to_owned(), received)]),
            destinations: BTreeMap::from([("erp".to_owned(), flow)]),
            attempts: received,
            attempts_unknown: 0,
            oldest_unsettled: (waiting > 0).then_some(0),
        };
        let acks = Acks { count: 2, p50_ms: 1.0, p99_ms: 5.0 };
        let slower = Acks { count: 3, p50_ms: 2.0, p99_ms: 9.0 };
        let idle = Acks { count: 0, p50_ms: 0.0, p99_ms: 50.0 };
        let gateways = [("a", acks), ("b", slower), ("c", idle)];
        Sample {
            at: Timestamp(minutes * 60_000),
            figures: Some(figures),
            acks: gateways.map(|(name, acks)| (name.to_owned(), acks)).into(),
        }
    }

    #[test]
    fn what_is_counted_is_told_by_how_it_rose_and_what_stands_as_it_stood() {
        let gap = Sample { at: Timestamp(600_000), ..Sample::default() };
        let series = of_samples(&[sample(0, 10, 4), sample(5, 25, 5), gap, sample(15, 40, 0), sample(16, 40, 0)]);
        let erp = &series.destinations["erp"];
        assert_eq!(series.sources["orders"].received, [None, Some(15), None, None, Some(0)]);
        assert_eq!(erp.delivered, [None, Some(14), None, None, Some(0)]);
        assert_eq!(erp.waiting, [Some(4), Some(5), None, Some(0), Some(0)]);
        assert_eq!(erp.dead, [Some(1), Some(1), None, Some(1), Some(1)]);
        assert_eq!(series.oldest_unsettled_s, [Some(0), Some(300), None, Some(0), Some(0)]);
        assert_eq!(series.acks[0..3], [Some(5), Some(5), None]);
        assert_eq!(
            (series.ack_p50_ms[0], series.ack_p99_ms[0]),
            (Some(2.0), Some(9.0)),
            "of the slowest that answered"
        );
        assert_eq!(series.at.len(), 5);
    }
}
