//! How many commands commits held, as a histogram: the store counts them, and not this library.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::store::{COMMIT_SIZES, WriterFigures};

/// What the store's writer said last.
#[derive(Clone, Debug, Default)]
pub(super) struct CommitSizes(Arc<Mutex<WriterFigures>>);

impl CommitSizes {
    pub(super) fn set(&self, figures: &WriterFigures) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(figures);
    }
}

/// The upper bounds and how many commits are in each alone; the library wants them so, and the store adds them up.
fn buckets(figures: &WriterFigures) -> Vec<(f64, u64)> {
    let bounds = COMMIT_SIZES.iter().map(|&bound| bound as f64).chain([f64::INFINITY]);
    let mut below = 0;
    bounds
        .zip(figures.commit_sizes)
        .map(|(bound, up_to)| {
            // The counts are read one after the other, while commits go on.
            let here = up_to.saturating_sub(below);
            below = below.max(up_to);
            (bound, here)
        })
        .collect()
}

impl EncodeMetric for CommitSizes {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let buckets = buckets(&figures);
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(figures.commands as f64, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_commit_is_in_one_bucket() {
        let commit_sizes = [1, 3, 3, 4, 4, 4, 4, 4, 4, 4, 6];
        let figures = WriterFigures { commits: 6, commands: 9_000, commit_sizes, ..WriterFigures::default() };
        let found = buckets(&figures);
        let filled: Vec<_> = found.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(filled, [(1.0, 1), (2.0, 2), (10.0, 1), (f64::INFINITY, 2)]);
        let torn = WriterFigures { commit_sizes: [2, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3], ..figures };
        assert_eq!(buckets(&torn).iter().map(|(_, count)| count).sum::<u64>(), 3);
    }
}
