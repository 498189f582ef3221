//! The text of a scrape, one metric after another.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use crate::counts::HistogramCounts;

/// Writes metrics.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

/// Writes the values of one metric, each with its labels.
pub(super) struct Family<'a>(MetricEncoder<'a>);

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// Writes a counter without labels. Its name in the text ends with `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue + Copy) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// Writes a gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue + Copy) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// Begins a counter with labels.
    pub(super) fn counters<'s>(&'s mut self, name: &'s str, help: &str) -> Result<Family<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Counter).map(Family)
    }

    /// Begins a gauge with labels.
    pub(super) fn gauges<'s>(&'s mut self, name: &'s str, help: &str) -> Result<Family<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge).map(Family)
    }

    /// Begins a histogram with labels.
    pub(super) fn histograms<'s>(&'s mut self, name: &'s str, help: &str) -> Result<Family<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Histogram).map(Family)
    }

    /// Writes a histogram of durations without labels.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[Duration; N],
        counts: &HistogramCounts<N>,
    ) -> fmt::Result {
        write_histogram(&mut self.0.encode_descriptor(name, help, None, MetricType::Histogram)?, bounds, counts)
    }
}

impl Family<'_> {
    pub(super) fn counter(
        &mut self,
        labels: &impl EncodeLabelSet,
        value: impl EncodeCounterValue + Copy,
    ) -> fmt::Result {
        self.0.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn gauge(&mut self, labels: &impl EncodeLabelSet, value: impl EncodeGaugeValue + Copy) -> fmt::Result {
        self.0.encode_family(labels)?.encode_gauge(&value)
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        labels: &impl EncodeLabelSet,
        bounds: &[Duration; N],
        counts: &HistogramCounts<N>,
    ) -> fmt::Result {
        write_histogram(&mut self.0.encode_family(labels)?, bounds, counts)
    }
}

fn write_histogram<const N: usize>(
    encoder: &mut MetricEncoder<'_>,
    bounds: &[Duration; N],
    counts: &HistogramCounts<N>,
) -> fmt::Result {
    let bounds = bounds.iter().map(Duration::as_secs_f64).chain([f64::MAX]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts.buckets.into_iter().chain([counts.longer])).collect();
    encoder.encode_histogram::<NoLabelSet>(seconds(counts.nanoseconds), counts.count(), &buckets, None)
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}
