//! Traces: spans that go to a collector by OTLP, and the context by which a trace leads through several services (W3C Trace
//! Context). Where no collector is set nothing of it is done.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan, SpanData,
    SpanExporter, SpanProcessor,
};
use tracing::{Level, Span, Subscriber, info, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::config::TraceSettings;

/// The target of spans that are for traces alone. Logs do not have them at `info`, and then they cost nothing.
pub(crate) const SPANS: &str = "rejoinder::traces";

/// So many spans wait to be sent; more are dropped, and counted.
const QUEUE: usize = 8_192;

/// How often they are sent.
const SEND: Duration = Duration::from_secs(1);

/// How long the collector may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How long what is left may take to be sent when the process ends.
const END: Duration = Duration::from_secs(2);

/// Set once, where traces are switched on.
static TRACES: OnceLock<Traces> = OnceLock::new();

struct Traces {
    provider: SdkTracerProvider,
    spans: Arc<Spans>,
}

/// How many spans became what.
#[derive(Debug, Default)]
struct Spans {
    waiting: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// Switches traces on where a collector is set; what makes spans of them.
///
/// To be called in no runtime: the exporter has a thread, and a client of its own.
///
/// # Errors
/// When the address cannot be used.
pub(super) fn start(settings: &TraceSettings) -> anyhow::Result<Option<SdkTracer>> {
    let Some(endpoint) = &settings.otel_exporter_otlp_endpoint else {
        return Ok(None);
    };
    let exporter = OtlpExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')))
        .with_timeout(ANSWER)
        .build()
        .context("OTEL_EXPORTER_OTLP_ENDPOINT: it cannot be used")?;
    let spans = Arc::<Spans>::default();
    let exporter = Counting {
        exporter,
        is_failing: AtomicBool::default(),
        spans: Arc::clone(&spans),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_scheduled_delay(SEND)
        .build();
    let processor = Bounded {
        processor: BatchSpanProcessor::builder(exporter).with_batch_config(config).build(),
        spans: Arc::clone(&spans),
    };
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            settings.otel_traces_sampler_arg,
        ))))
        .with_resource(
            Resource::builder()
                .with_service_name(settings.otel_service_name.clone())
                .build(),
        )
        .build();
    let tracer = provider.tracer("rejoinder");
    Ok(TRACES.set(Traces { provider, spans }).is_ok().then_some(tracer))
}

/// Makes spans of what is logged at `info`, and of what is for traces alone; statements are told with the span that they are of.
pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(tracer: SdkTracer) -> impl Layer<S> {
    let told = Targets::new()
        .with_default(Level::INFO)
        .with_target(SPANS, Level::DEBUG)
        .with_target("sqlx::query", Level::DEBUG);
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(told)
}

/// Sends what is left, for two seconds at most. To be called in no runtime, at the end.
pub(crate) fn stop() {
    if let Some(traces) = TRACES.get()
        && let Err(error) = traces.provider.shutdown_with_timeout(END)
    {
        info!(error = %error, "not all spans were sent");
    }
}

/// How many spans were sent, could not be, and were dropped as too many waited.
pub(crate) fn spans() -> [(&'static str, u64); 3] {
    let count = |of: fn(&Spans) -> &AtomicU64| {
        let traces = TRACES.get();
        traces.map_or(0, |traces| of(&traces.spans).load(Ordering::Relaxed))
    };
    [
        ("sent", count(|spans| &spans.sent)),
        ("failed", count(|spans| &spans.failed)),
        ("dropped", count(|spans| &spans.dropped)),
    ]
}

/// Makes `span` a part of the trace that `traceparent` names, where it names one. It must be new.
pub(crate) fn follow<'a>(span: &Span, traceparent: impl FnOnce() -> Option<&'a str>) {
    if TRACES.get().is_none() {
        return;
    }
    if let Some(parent) = traceparent().and_then(read) {
        // A span that is not logged is not sent either.
        span.set_parent(Context::new().with_remote_span_context(parent)).ok();
    }
}

/// The `traceparent` of a span, for what comes of it elsewhere; `None` where traces are switched off.
pub(crate) fn traceparent(span: &Span) -> Option<String> {
    TRACES.get()?;
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| {
        let flags = context.trace_flags().to_u8();
        format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id())
    })
}

fn read(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    if version.len() != 2 || flags.len() != 2 {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

/// Lets no more spans wait than [`QUEUE`], and counts those that it drops.
#[derive(Debug)]
struct Bounded {
    processor: BatchSpanProcessor,
    spans: Arc<Spans>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut SdkSpan, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.spans.waiting.load(Ordering::Relaxed) >= QUEUE as u64 {
            self.spans.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.spans.waiting.fetch_add(1, Ordering::Relaxed);
        self.processor.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// Counts what the collector has taken, and says when it takes nothing.
struct Counting {
    exporter: OtlpExporter,
    is_failing: AtomicBool,
    spans: Arc<Spans>,
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exporter.fmt(f)
    }
}

impl SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let exported = self.exporter.export(batch).await;
        let count = match &exported {
            Ok(()) => &self.spans.sent,
            Err(_) => &self.spans.failed,
        };
        let is_failing = exported.is_err();
        if self.is_failing.swap(is_failing, Ordering::Relaxed) != is_failing {
            match &exported {
                Ok(()) => info!("the collector takes spans again"),
                Err(error) => warn!(error = %error, "the collector takes no spans; they are lost until it does"),
            }
        }
        count.fetch_add(spans, Ordering::Relaxed);
        self.spans.waiting.fetch_sub(spans, Ordering::Relaxed);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_of_a_caller_is_read_and_nothing_else_is() {
        let context = read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.is_sampled() && context.is_remote());
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-x-00f067aa0ba902b7-01",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_followed_where_traces_are_switched_off() {
        let span = Span::current();
        follow(&span, || panic!("asked for its parent"));
        assert_eq!(traceparent(&span), None);
        assert_eq!(spans(), [("sent", 0), ("failed", 0), ("dropped", 0)]);
    }
}
