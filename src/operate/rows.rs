//! How a metric is written whose values are looked at when it is asked for: a row for each set of labels.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;

/// The names of a row's labels, and their values.
type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// Writes a gauge.
pub(super) fn gauge<'a, const LABELS: usize, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'a, LABELS>, V)>,
) -> fmt::Result {
    let rows = rows.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
    family(encoder, name, help, MetricType::Gauge, rows)
}

/// Writes a counter, whose name is without `_total`.
pub(super) fn count<'a, const LABELS: usize, V: EncodeCounterValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'a, LABELS>, V)>,
) -> fmt::Result {
    let rows = rows
        .into_iter()
        .map(|(labels, value)| (labels, ConstCounter::new(value)));
    family(encoder, name, help, MetricType::Counter, rows)
}

/// Writes a histogram.
pub(super) fn histograms<'a, const LABELS: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'a, LABELS>, &'a Histogram)>,
) -> fmt::Result {
    let rows = rows.into_iter().map(|(labels, histogram)| (labels, histogram.clone()));
    family(encoder, name, help, MetricType::Histogram, rows)
}

/// Writes each row of a metric.
fn family<'a, const LABELS: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric_type: MetricType,
    mut rows: impl Iterator<Item = (Labels<'a, LABELS>, impl EncodeMetric)>,
) -> fmt::Result {
    let mut encoder = encoder.encode_descriptor(name, help, None, metric_type)?;
    if LABELS == 0 {
        return rows.next().map_or(Ok(()), |(_, value)| value.encode(encoder));
    }
    for (labels, value) in rows {
        value.encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}
