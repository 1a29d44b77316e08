//! What is seen from outside: one root span per request, and metrics.

pub(crate) mod traces;

use std::io::{IsTerminal as _, Stderr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use anyhow::anyhow;
use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, debug, info_span};
use tracing_actix_web::RootSpanBuilder;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{self, LogFormat, LogSettings, TraceSettings};
use crate::error::HttpError;
use crate::event::metrics::EventMetrics;

/// Where turns are posted: their requests are named by what is in them.
pub(crate) const TURNS: &str = "/fulfillment";

/// The target of the lines that tell of each turn, at debug.
pub(crate) const TURN_LINES: &str = "rejoinder::turn_lines";

/// The buckets of what is a part of a turn's time, in seconds.
pub(crate) const SECONDS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Starts logging to standard error, and traces where they are switched on. A second call changes nothing. To be called in no
/// runtime.
///
/// # Errors
/// When the directives cannot be read, or the collector's address cannot be used.
pub(crate) fn start(settings: &LogSettings, traces: &TraceSettings) -> anyhow::Result<()> {
    let filter = filter(settings, std::io::stderr().is_terminal())?;
    let is_colored = std::io::stderr().is_terminal() && !config::no_color();
    let registry = tracing_subscriber::registry();
    let started = match (traces::start(traces)?, settings.log_format) {
        (None, LogFormat::Text) => registry.with(filter).with(lines().with_ansi(is_colored)).try_init(),
        (None, LogFormat::Json) => registry.with(filter).with(lines().json()).try_init(),
        // What is sent does not go by what is logged.
        (Some(tracer), LogFormat::Text) => registry
            .with(traces::layer(tracer))
            .with(lines().with_ansi(is_colored).with_filter(filter))
            .try_init(),
        (Some(tracer), LogFormat::Json) => registry
            .with(traces::layer(tracer))
            .with(lines().json().with_filter(filter))
            .try_init(),
    };
    if started.is_err() {
        debug!("logging was started before");
    }
    std::panic::set_hook(Box::new(|panic| {
        // The message may hold what a user said; the place does not.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    Ok(())
}

/// Lines on standard error.
fn lines<S>() -> fmt::Layer<S, DefaultFields, Format, fn() -> Stderr> {
    fmt::Layer::default().with_writer(std::io::stderr)
}

/// What is logged: as the setting says, and each turn where a person reads along.
fn filter(settings: &LogSettings, is_terminal: bool) -> anyhow::Result<Targets> {
    // Targets and levels only: a filter on spans' fields would cost each turn more than its handler.
    let filter: Targets = settings.rust_log.parse().map_err(|_| {
        anyhow!(
            "RUST_LOG: found {:?}, expected levels such as info,sqlx=warn",
            settings.rust_log
        )
    })?;
    let is_read = is_terminal && settings.log_format == LogFormat::Text;
    Ok(match is_read && filter.would_enable(TURN_LINES, &Level::INFO) {
        true => filter.with_target(TURN_LINES, LevelFilter::DEBUG),
        false => filter,
    })
}

/// The root span of a request. Which session, intent and response it is about is filled in once that is known;
/// parameters and bodies never are.
pub(crate) struct TurnSpan;

impl RootSpanBuilder for TurnSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let span = info_span!(
            "request",
            http.path = Empty,
            http.status_code = Empty,
            session.id = Empty,
            intent.name = Empty,
            response.id = Empty,
            caller = Empty,
        );
        let header = || request.headers().get("traceparent")?.to_str().ok();
        traces::follow(&span, header);
        // Each record writes the span's fields anew, so a turn's are recorded once, when they are known.
        if request.path() != TURNS {
            span.record("http.path", request.path());
        }
        span
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let (status, error) = match outcome {
            Ok(response) => (response.status(), response.response().error()),
            Err(error) => (error.as_response_error().status_code(), Some(error)),
        };
        if status.is_success() {
            return;
        }
        span.record("http.status_code", status.as_u16());
        if let Ok(response) = outcome
            && let Some(metrics) = response.request().app_data::<Metrics>()
        {
            let code = error
                .and_then(|error| error.as_error::<HttpError>())
                .map(HttpError::code);
            metrics.refused(status.as_u16(), code.unwrap_or("(other)"));
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    intent: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    status: u16,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotificationLabels {
    channel: String,
    outcome: &'static str,
}

/// What a certificate is used for.
type UseLabel = [(&'static str, &'static str); 1];

/// How many names of intents without a handler are counted apart; the rest are counted as `(other)`.
const UNMATCHED_NAMES: usize = 1_000;

/// How many characters of such a name are kept.
const NAME_LENGTH: usize = 200;

/// The service's metrics. Clones share one registry.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    duration: Family<OutcomeLabels, Histogram, Latency>,
    unmatched: Family<NameLabel, Counter>,
    refused: Family<RefusalLabels, Counter>,
    late_replies: Gauge,
    notifications: Family<NotificationLabels, Counter>,
    streams: Gauge,
    certificates: Family<UseLabel, Gauge>,
    events: EventMetrics,
    unmatched_names: moka::sync::Cache<String, ()>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Metrics {
    /// Turns' durations are told apart at each of `limits`, so that one that is missed is seen.
    pub(crate) fn new(limits: &[Duration]) -> Self {
        let mut registry = Registry::with_prefix("rejoinder");
        let duration = Family::new_with_constructor(Latency::up_to(limits));
        let unmatched = Family::default();
        let refused = Family::default();
        let late_replies = Gauge::default();
        registry.register_with_unit(
            "turn_duration",
            "Time to the outcome of a turn; of a handler where the outcome is its own",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register(
            "unmatched_turns",
            "Turns for which the bot has no handler of that name",
            unmatched.clone(),
        );
        registry.register(
            "requests_refused",
            "Requests at any door that were answered with an error, by status and code",
            refused.clone(),
        );
        registry.register(
            "late_replies",
            "Questions that a late reply is known for, or still awaited",
            late_replies.clone(),
        );
        let notifications = Family::default();
        let streams = Gauge::default();
        registry.register(
            "notifications",
            "Notifications and calls of reactions, by channel and what became of them",
            notifications.clone(),
        );
        registry.register(
            "streams_open",
            "Streams of conversations that are open",
            streams.clone(),
        );
        let certificates = Family::default();
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When certificates of this process expire, by what they are used for",
            Unit::Seconds,
            certificates.clone(),
        );
        let events = EventMetrics::register(&mut registry);
        Self(Arc::new(Families {
            registry,
            duration,
            unmatched,
            refused,
            late_replies,
            notifications,
            streams,
            certificates,
            events,
            unmatched_names: moka::sync::Cache::new(UNMATCHED_NAMES as u64),
        }))
    }
}

/// The buckets of turns' durations, in seconds.
#[derive(Clone)]
struct Latency(Arc<[f64]>);

impl Latency {
    fn up_to(limits: &[Duration]) -> Self {
        let limits = limits.iter().map(Duration::as_secs_f64);
        let mut bounds: Vec<f64> = exponential_buckets(0.000_25, 2.0, 16)
            .chain([5.0, 10.0])
            .chain(limits)
            .collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        Self(bounds.into())
    }
}

impl MetricConstructor<Histogram> for Latency {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

impl Metrics {
    /// Counts an outcome of an intent's turn, and how long it took.
    ///
    /// The usual outcome, a reply, is looked up once: in `replies`, which is the intent's.
    pub(crate) fn answered(
        &self,
        intent: &str,
        replies: &OnceLock<Histogram>,
        outcome: &'static str,
        elapsed: Duration,
    ) {
        let labels = || OutcomeLabels {
            intent: intent.into(),
            outcome,
        };
        let observe = |histogram: &Histogram| histogram.observe(elapsed.as_secs_f64());
        match outcome {
            "reply" => observe(replies.get_or_init(|| self.0.duration.get_or_create(&labels()).clone())),
            _ => observe(&self.0.duration.get_or_create(&labels())),
        }
    }

    /// Counts a turn that has no handler of its own; returns whether the name is new. It comes from outside: so many
    /// are told apart, each by its beginning.
    pub(crate) fn unmatched(&self, name: &str) -> bool {
        let known = &self.0.unmatched_names;
        // Escapes would reach the terminal of whoever looks at the metrics.
        let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let mut name: String = name.chars().take(NAME_LENGTH).map(visible).collect();
        let is_known = known.contains_key(&name);
        let is_new = !is_known && known.entry_count() < UNMATCHED_NAMES as u64;
        if is_new {
            known.insert(name.clone(), ());
            known.run_pending_tasks();
        } else if !is_known {
            name = "(other)".to_owned();
        }
        self.0.unmatched.get_or_create(&NameLabel { name }).inc();
        is_new
    }

    /// Counts a request that was answered with an error.
    fn refused(&self, status: u16, code: &'static str) {
        self.0.refused.get_or_create(&RefusalLabels { status, code }).inc();
    }

    /// Those of events.
    pub(crate) fn events(&self) -> &EventMetrics {
        &self.0.events
    }

    /// Counts notifications or calls of reactions.
    pub(crate) fn notified(&self, channel: &str, outcome: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        let labels = NotificationLabels {
            channel: channel.to_owned(),
            outcome,
        };
        self.0.notifications.get_or_create(&labels).inc_by(count);
    }

    /// One more stream is open.
    pub(crate) fn stream_opened(&self) {
        self.0.streams.inc();
    }

    /// One stream fewer is open.
    pub(crate) fn stream_closed(&self) {
        self.0.streams.dec();
    }

    /// Says when the certificate of this use expires.
    pub(crate) fn certificate_expires(&self, used_for: &'static str, at: DateTime<Utc>) {
        let gauge = self.0.certificates.get_or_create(&[("use", used_for)]);
        gauge.set(at.timestamp());
    }

    /// Writes all of them, and those of `state`, as OpenMetrics text.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn text(&self, late_replies: u64, state: &Registry) -> Result<String, std::fmt::Error> {
        self.0.events.grow_older();
        self.0.late_replies.set(i64::try_from(late_replies).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode_registry(&mut text, &self.0.registry)?;
        encode(&mut text, state)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("info", LogFormat::Text, true, true)]
    #[case("info", LogFormat::Text, false, false)]
    #[case("info", LogFormat::Json, true, false)]
    #[case("warn", LogFormat::Text, true, false)]
    #[case("info,rejoinder=warn", LogFormat::Text, true, false)]
    #[case("debug", LogFormat::Json, false, true)]
    fn each_turn_is_told_where_a_person_reads_along(
        #[case] rust_log: &str,
        #[case] log_format: LogFormat,
        #[case] is_terminal: bool,
        #[case] is_told: bool,
    ) {
        let settings = LogSettings {
            rust_log: rust_log.to_owned(),
            log_format,
        };
        let filter = filter(&settings, is_terminal).unwrap();
        assert_eq!(filter.would_enable(TURN_LINES, &Level::DEBUG), is_told);
        let others = rust_log == "debug";
        assert_eq!(filter.would_enable("rejoinder::fulfillment", &Level::DEBUG), others);
    }
}
