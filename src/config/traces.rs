//! Whether spans are sent, and where to.

use url::Url;

/// Whether spans are sent, and where to.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceSettings {
    /// Where spans are sent by OTLP, as http(s)://host:port of a collector that takes HTTP and protobuf; unset: nowhere
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = endpoint)]
    pub otel_exporter_otlp_endpoint: Option<Url>,
    /// Which part of the traces that begin here is sent, 0 to 1; of those that others began what they say
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1", value_parser = ratio)]
    pub otel_traces_sampler_arg: f64,
    /// What the service is called in traces
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "rejoinder")]
    pub otel_service_name: String,
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| ["http", "https"].contains(&url.scheme()));
    url.ok_or_else(|| "expected http(s)://host:port".to_owned())
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}
