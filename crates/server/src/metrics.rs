//! Numbers about ourselves, in OpenMetrics.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argand_model::TenantId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet, prometheus_protobuf, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, NativeHistogramConfig};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::backend::BuildInfo;

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    /// Text that everybody reads.
    OpenMetrics,
    /// What Prometheus asks for when it takes native histograms.
    Protobuf,
}

impl Exposition {
    /// The one that an `Accept` header asks for.
    pub(crate) fn of(accept: &str) -> Self {
        let is_protobuf = |range: &str| {
            range.trim_start().starts_with("application/vnd.google.protobuf")
                && range.contains("io.prometheus.client.MetricFamily")
                && range.contains("delimited")
        };
        if accept.split(',').any(is_protobuf) { Self::Protobuf } else { Self::OpenMetrics }
    }

    /// Its content type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// Upper bounds of the request durations in seconds.
const DURATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Buckets of a native histogram, each a tenth wider than the one before: 160 of them reach from 1 µs to a minute, and
/// more are merged.
const NATIVE_BUCKETS: usize = 160;
const NATIVE_BUCKET_FACTOR: f64 = 1.1;

fn duration_histogram() -> Histogram {
    let native = NativeHistogramConfig::new(NATIVE_BUCKET_FACTOR).max_buckets(NATIVE_BUCKETS);
    Histogram::new_classic_and_native(DURATION_BUCKETS, native)
}

/// Labels of a finished request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    pub(crate) status_code: u16,
}

/// Labels of what was received.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReceivedLabels {
    format: &'static str,
    tenant: String,
}

/// Labels of what was discarded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DiscardLabels {
    reason: &'static str,
    tenant: String,
}

/// Labels of damage that did not keep the rest of a profile from being read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LossLabels {
    kind: &'static str,
}

/// A number that somebody else keeps and that is read when metrics are asked for.
///
/// `name` is without prefix and, for counters, without `_total`; units end it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Such as `store_blocks`.
    pub name: String,
    /// One sentence without full stop.
    pub help: String,
    /// Whether it goes up and down, or only up.
    pub value: ReadingValue,
}

/// Value of a [`Reading`].
#[derive(Clone, Debug, PartialEq)]
pub enum ReadingValue {
    /// Goes up and down.
    Gauge(f64),
    /// Only goes up.
    Counter(u64),
    /// Only goes up, in parts of the unit.
    FloatCounter(f64),
    /// How often which size was seen.
    Histogram {
        /// Upper bound, ascending, and number of observations in the bucket, not cumulative; the last bound is
        /// infinity.
        buckets: Vec<(f64, u64)>,
        /// Sum of all observations.
        sum: f64,
    },
}

/// Where [`Reading`]s come from.
pub type ReadingSource = Arc<dyn Fn() -> Vec<Reading> + Send + Sync>;

/// Tenants that have numbers of their own; the others share the label `other`.
const MAX_TENANTS: usize = 1000;

/// All numbers of one server.
pub(crate) struct Metrics {
    registry: Registry,
    /// Numbers that every program has, under the names that every program uses.
    process: Registry,
    tenants: Mutex<HashSet<TenantId>>,
    request_duration: Family<RequestLabels, Histogram, fn() -> Histogram>,
    /// Requests being answered.
    pub(crate) in_flight: Gauge,
    /// Requests whose handler panicked.
    pub(crate) panics: Counter,
    received_profiles: Family<ReceivedLabels, Counter>,
    received_samples: Family<ReceivedLabels, Counter>,
    received_bytes: Family<ReceivedLabels, Counter>,
    discarded_samples: Family<DiscardLabels, Counter>,
    discarded_bytes: Family<DiscardLabels, Counter>,
    losses: Family<LossLabels, Counter>,
}

impl Metrics {
    /// Metrics of this build; `panics` is counted elsewhere. `sources` are read on every scrape, and so is `process`,
    /// whose names get no prefix.
    pub(crate) fn new(
        build: &BuildInfo,
        panics: Counter,
        sources: Vec<ReadingSource>,
        process: Option<ReadingSource>,
    ) -> Self {
        let mut registry = Registry::with_prefix("argand");
        let info = Info::new([("version", build.version), ("revision", build.revision)]);
        registry.register("build", "What is running", info);
        let mut metrics = Self {
            request_duration: Family::new_with_constructor(duration_histogram),
            in_flight: Gauge::default(),
            panics,
            received_profiles: Family::default(),
            received_samples: Family::default(),
            received_bytes: Family::default(),
            discarded_samples: Family::default(),
            discarded_bytes: Family::default(),
            losses: Family::default(),
            registry: Registry::default(),
            process: Registry::default(),
            tenants: Mutex::default(),
        };
        registry.register_with_unit(
            "request_duration",
            "Time from the head of a request to the head of its answer",
            Unit::Seconds,
            metrics.request_duration.clone(),
        );
        registry.register("requests_in_flight", "Requests being answered", metrics.in_flight.clone());
        registry.register("request_panics", "Requests whose handler panicked", metrics.panics.clone());
        registry.register("received_profiles", "Profiles that arrived", metrics.received_profiles.clone());
        registry.register("received_samples", "Samples that arrived", metrics.received_samples.clone());
        registry.register_with_unit(
            "received",
            "Bytes of profiles that arrived, as sent",
            Unit::Bytes,
            metrics.received_bytes.clone(),
        );
        registry.register(
            "discarded_samples",
            "Profiles that were not stored, by reason",
            metrics.discarded_samples.clone(),
        );
        registry.register_with_unit(
            "discarded",
            "Bytes that were not stored, by reason",
            Unit::Bytes,
            metrics.discarded_bytes.clone(),
        );
        registry.register(
            "decode_losses",
            "Damaged or unknown parts of profiles that were skipped, by kind",
            metrics.losses.clone(),
        );
        registry.register_collector(Box::new(Readings(sources)));
        metrics.registry = registry;
        metrics.process.register_collector(Box::new(Readings(process.into_iter().collect())));
        metrics
    }

    /// A request was answered.
    pub(crate) fn request(&self, labels: &RequestLabels, duration: Duration) {
        self.request_duration.get_or_create(labels).observe(duration.as_secs_f64());
    }

    /// A profile arrived.
    pub(crate) fn received(&self, format: &'static str, tenant: &TenantId, bytes: u64, samples: u64) {
        let labels = ReceivedLabels { format, tenant: self.tenant_label(tenant) };
        self.received_profiles.get_or_create(&labels).inc();
        self.received_samples.get_or_create(&labels).inc_by(samples);
        self.received_bytes.get_or_create(&labels).inc_by(bytes);
    }

    /// A profile that arrived was not stored.
    pub(crate) fn discarded(&self, reason: &'static str, tenant: &TenantId, bytes: u64) {
        let labels = DiscardLabels { reason, tenant: self.tenant_label(tenant) };
        self.discarded_samples.get_or_create(&labels).inc();
        self.discarded_bytes.get_or_create(&labels).inc_by(bytes);
    }

    fn tenant_label(&self, tenant: &TenantId) -> String {
        let mut tenants = self.tenants.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if tenants.len() < MAX_TENANTS && !tenants.contains(tenant) {
            tenants.insert(tenant.clone());
        }
        if tenants.contains(tenant) { tenant.to_string() } else { "other".to_owned() }
    }

    /// Parts of a profile could not be read.
    pub(crate) fn lost(&self, losses: &[(&'static str, u64)]) {
        for &(kind, count) in losses {
            self.losses.get_or_create(&LossLabels { kind }).inc_by(count);
        }
    }

    /// Everything.
    pub(crate) fn render(&self, exposition: Exposition) -> Vec<u8> {
        let registries = [&self.registry, &self.process];
        match exposition {
            Exposition::OpenMetrics => {
                let mut out = String::new();
                let written = registries.into_iter().try_for_each(|registry| text::encode_registry(&mut out, registry));
                written.and_then(|()| text::encode_eof(&mut out)).expect("writing to a string does not fail");
                out.into_bytes()
            }
            Exposition::Protobuf => {
                let parts = registries.map(prometheus_protobuf::encode_to_vec);
                parts.into_iter().flat_map(|part| part.expect("writing to memory does not fail")).collect()
            }
        }
    }
}

struct Readings(Vec<ReadingSource>);

impl std::fmt::Debug for Readings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Readings({})", self.0.len())
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for reading in self.0.iter().flat_map(|source| source()) {
            let Reading { name, help, value } = &reading;
            match value {
                &ReadingValue::Gauge(value) => {
                    let gauge = ConstGauge::<f64>::new(value);
                    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
                }
                &ReadingValue::Counter(value) => {
                    let counter = ConstCounter::<u64>::new(value);
                    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
                }
                &ReadingValue::FloatCounter(value) => {
                    let counter = ConstCounter::<f64>::new(value);
                    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
                }
                ReadingValue::Histogram { buckets, sum } => {
                    let count = buckets.iter().map(|(_, count)| count).sum();
                    let mut histogram = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
                    histogram.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: BuildInfo = BuildInfo { version: "1.2.3", revision: "abc", date: "" };

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render(Exposition::OpenMetrics)).unwrap()
    }

    fn reading(name: &str, value: ReadingValue) -> Reading {
        Reading { name: name.into(), help: "A number".into(), value }
    }

    #[test]
    fn renders_open_metrics() {
        let source: ReadingSource = Arc::new(|| {
            let buckets = vec![(0.5, 2), (1.0, 0), (f64::INFINITY, 1)];
            vec![
                reading("store_blocks", ReadingValue::Gauge(3.0)),
                reading("store_fsyncs", ReadingValue::Counter(9)),
                reading("store_flush_seconds", ReadingValue::Histogram { buckets, sum: 7.25 }),
            ]
        });
        let process: ReadingSource = Arc::new(|| vec![reading("process_cpu_seconds", ReadingValue::FloatCounter(0.5))]);
        let metrics = Metrics::new(&BUILD, Counter::default(), vec![source], Some(process));
        let tenant = TenantId::anonymous();
        metrics.received("pprof", &tenant, 100, 5);
        metrics.discarded("malformed_profile", &tenant, 7);
        let labels = RequestLabels { method: "POST", route: "/ingest".into(), status_code: 200 };
        metrics.request(&labels, Duration::from_millis(3));
        let text = text(&metrics);
        for line in [
            "argand_build_info{version=\"1.2.3\",revision=\"abc\"} 1",
            "argand_received_profiles_total{format=\"pprof\",tenant=\"anonymous\"} 1",
            "argand_received_bytes_total{format=\"pprof\",tenant=\"anonymous\"} 100",
            "argand_discarded_bytes_total{reason=\"malformed_profile\",tenant=\"anonymous\"} 7",
            "argand_discarded_samples_total{reason=\"malformed_profile\",tenant=\"anonymous\"} 1",
            "argand_request_duration_seconds_count{method=\"POST\",route=\"/ingest\",status_code=\"200\"} 1",
            "argand_store_blocks 3.0",
            "argand_store_fsyncs_total 9",
            "argand_store_flush_seconds_bucket{le=\"0.5\"} 2",
            "argand_store_flush_seconds_bucket{le=\"+Inf\"} 3",
            "argand_store_flush_seconds_sum 7.25",
            "process_cpu_seconds_total 0.5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn prometheus_gets_native_histograms_if_it_asks() {
        let asked = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                     application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1";
        assert_eq!(Exposition::of(asked), Exposition::Protobuf);
        for accept in ["", "*/*", "application/openmetrics-text;version=1.0.0", "application/vnd.google.protobuf"] {
            assert_eq!(Exposition::of(accept), Exposition::OpenMetrics, "{accept}");
        }
        let metrics = Metrics::new(&BUILD, Counter::default(), Vec::new(), None);
        let labels = RequestLabels { method: "POST", route: "/ingest".into(), status_code: 200 };
        metrics.request(&labels, Duration::from_millis(3));
        let families = prometheus_protobuf::encode(&metrics.registry).unwrap();
        let durations = families.iter().find(|family| family.name == "argand_request_duration_seconds").unwrap();
        let histogram = durations.metric[0].histogram.as_ref().unwrap();
        assert_eq!((histogram.sample_count, histogram.bucket.len()), (1, DURATION_BUCKETS.len() + 1));
        assert_eq!(histogram.positive_span.len(), 1, "the observation is in a native bucket, too");
        assert!(!metrics.render(Exposition::Protobuf).is_empty());
    }

    #[test]
    fn a_flood_of_tenants_shares_a_label() {
        let metrics = Metrics::new(&BUILD, Counter::default(), Vec::new(), None);
        for i in 0..MAX_TENANTS + 10 {
            metrics.received("pprof", &format!("tenant-{i}").parse().unwrap(), 1, 1);
        }
        let text = text(&metrics);
        assert_eq!(text.lines().filter(|l| l.starts_with("argand_received_profiles_total")).count(), MAX_TENANTS + 1);
        assert!(text.contains("argand_received_profiles_total{format=\"pprof\",tenant=\"other\"} 10"));
    }
}
