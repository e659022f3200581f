//! Traces for OpenTelemetry: where spans go, which of them, and their end.
//!
//! A span is made with the target [`TARGET`]. Without an endpoint nothing takes that target, so
//! that a span costs one look at a flag and there is no thread. With one, spans that end are put
//! into a bounded queue, which never waits; a thread of its own sends them, and what does not fit
//! is dropped: no probe is ever late because a collector is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use rustls::{ClientConfig, RootCertStore};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use crate::problems::Problems;

/// The target of spans that are sent; log lines know nothing of them.
pub const TARGET: &str = "traces";

/// How long the collector may take for one batch. Source: the default of OTEL_EXPORTER_OTLP_TIMEOUT.
const SEND_DEADLINE: Duration = Duration::from_secs(10);

/// On a clean stop, sending what waits gets this long.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Where traces go, and which.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// Collector that traces are sent to, as OTLP over HTTP: a URL, /v1/traces is added [default: none, no traces]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", hide_env_values = true)]
    pub otlp_endpoint: Option<String>,

    /// Which traces are made: always_on, always_off, traceidratio or one of these with parentbased_ before it
    /// [default: parentbased_always_on]
    #[arg(long, env = "OTEL_TRACES_SAMPLER", value_name = "NAME")]
    pub traces_sampler: Option<String>,

    /// Share of the traces that traceidratio makes, from 0 to 1 [default: 1]
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "SHARE")]
    pub traces_sampler_arg: Option<String>,
}

/// What sends spans; dropped, it sends those that wait. To be dropped after whatever makes spans.
#[derive(Debug, Default)]
#[must_use = "dropped, it sends no more"]
pub struct Traces(Option<SdkTracerProvider>);

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            // Whatever went wrong was said when it was sent.
            let _ = provider.shutdown_with_timeout(STOP_GRACE);
        }
    }
}

impl TraceArgs {
    /// Begins to send spans for `service`, unless OTEL_SERVICE_NAME gives it another name. `None`
    /// without an endpoint, or with settings that are wrong; those are noted.
    ///
    /// Not within a runtime: what sends waits.
    pub(crate) fn start<S>(&self, service: &'static str, problems: &mut Problems) -> (Traces, Option<impl Layer<S>>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let sampler = self.sampler(problems);
        let provider = self.endpoint(problems).zip(sampler).and_then(|(endpoint, sampler)| {
            let exporter = Telling::new(&endpoint).map_err(|error| {
                problems.value("OTEL_EXPORTER_OTLP_ENDPOINT", "--otlp-endpoint", endpoint.as_str(), error);
            });
            let provider = SdkTracerProvider::builder().with_sampler(sampler).with_resource(resource(service));
            Some(provider.with_batch_exporter(exporter.ok()?).build())
        });
        let layer = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("lookout"))
                // Where in our sources a span is made helps nobody who reads traces.
                .with_location(false)
                .with_target(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(Targets::new().with_target(TARGET, LevelFilter::TRACE))
        });
        (Traces(provider), layer)
    }

    /// Where to send them.
    fn endpoint(&self, problems: &mut Problems) -> Option<Url> {
        let raw = self.otlp_endpoint.as_deref()?;
        let (variable, flag) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "--otlp-endpoint");
        let url = Url::parse(raw).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(mut url) = url else {
            problems.secret(variable, flag, "is no URL like http://localhost:4318");
            return None;
        };
        // It is shown when nobody answers there.
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            problems.secret(
                variable,
                flag,
                "has more than host and path: secrets belong to OTEL_EXPORTER_OTLP_HEADERS",
            );
            return None;
        }
        url.set_path(&format!("{}/v1/traces", url.path().trim_end_matches('/')));
        Some(url)
    }

    /// Source: OpenTelemetry, "Environment Variable Specification", General SDK Configuration.
    fn sampler(&self, problems: &mut Problems) -> Option<Sampler> {
        let share = self.traces_sampler_arg.as_deref().map_or(Ok(1.0), str::parse);
        let Some(share) = share.ok().filter(|share| (0.0..=1.0).contains(share)) else {
            let raw = self.traces_sampler_arg.as_deref().unwrap_or_default();
            problems.value("OTEL_TRACES_SAMPLER_ARG", "--traces-sampler-arg", raw, "is no share from 0 to 1");
            return None;
        };
        let name = self.traces_sampler.as_deref().unwrap_or("parentbased_always_on");
        let (is_parent_based, root) = name.strip_prefix("parentbased_").map_or((false, name), |root| (true, root));
        let root = match root {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(share),
            _ => {
                let rule = "is no sampler: write always_on, always_off or traceidratio, with or without parentbased_";
                problems.value("OTEL_TRACES_SAMPLER", "--traces-sampler", name, rule);
                return None;
            }
        };
        Some(if is_parent_based { Sampler::ParentBased(Box::new(root)) } else { root })
    }
}

/// Who sends: the standard variables, and where they say nothing `service`.
fn resource(service: &'static str) -> Resource {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let is_named = !variable("OTEL_SERVICE_NAME").is_empty()
        || variable("OTEL_RESOURCE_ATTRIBUTES").split(',').any(|pair| pair.trim().starts_with("service.name="));
    let builder = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if is_named { builder.build() } else { builder.with_service_name(service).build() }
}

/// Sends spans, and says in the log when that begins to fail and when it works again; once each.
#[derive(Debug)]
struct Telling {
    inner: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    is_failing: AtomicBool,
}

impl Telling {
    fn new(endpoint: &Url) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        if endpoint.scheme() == "https" {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            anyhow::ensure!(
                !roots.is_empty(),
                "needs root certificates, and this machine has none: install ca-certificates"
            );
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // The thread that sends has no runtime.
        let client = reqwest::blocking::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(SEND_DEADLINE)
            .build()?;
        let inner = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.as_str())
            .with_timeout(SEND_DEADLINE)
            .build()?;
        Ok(Self { inner, endpoint: endpoint.to_string(), is_failing: AtomicBool::new(false) })
    }
}

impl SpanExporter for Telling {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.inner.export(batch).await;
        match (&sent, self.is_failing.swap(sent.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!("{} takes no traces, they are dropped until it does: {error}", self.endpoint);
            }
            (Ok(()), true) => tracing::info!("{} takes traces again", self.endpoint),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(endpoint: &str, sampler: &str, share: &str) -> TraceArgs {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        TraceArgs { otlp_endpoint: given(endpoint), traces_sampler: given(sampler), traces_sampler_arg: given(share) }
    }

    fn problems_of(args: &TraceArgs) -> String {
        let mut problems = Problems::new();
        let (_, layer) = args.start::<tracing_subscriber::Registry>("lookout", &mut problems);
        assert!(layer.is_none());
        problems.finish().unwrap_err().to_string()
    }

    #[test]
    fn without_an_endpoint_there_is_no_layer_and_nothing_that_sends() {
        let mut problems = Problems::new();
        let (traces, layer) = args("", "", "").start::<tracing_subscriber::Registry>("lookout", &mut problems);
        assert!(traces.0.is_none() && layer.is_none());
        problems.finish().unwrap();
    }

    #[test]
    fn an_endpoint_that_holds_a_secret_or_is_none_is_refused_unseen() {
        for endpoint in ["http://me:s3cret@host:4318", "http://host/?key=s3cret", "http://host/#s3cret"] {
            let said = problems_of(&args(endpoint, "", ""));
            assert!(said.contains("OTEL_EXPORTER_OTLP_HEADERS") && !said.contains("s3cret"), "{said}");
        }
        for endpoint in ["s3cret", "grpc://s3cret:4317", "http:"] {
            let said = problems_of(&args(endpoint, "", ""));
            assert!(said.contains("is no URL like http://localhost:4318") && !said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn the_path_of_traces_is_added_to_the_endpoint() {
        for endpoint in ["http://host:4318", "http://host:4318/"] {
            let url = args(endpoint, "", "").endpoint(&mut Problems::new()).unwrap();
            assert_eq!(url.as_str(), "http://host:4318/v1/traces");
        }
        let url = args("https://host/otlp/", "", "").endpoint(&mut Problems::new()).unwrap();
        assert_eq!(url.as_str(), "https://host/otlp/v1/traces");
    }

    #[test]
    fn samplers_are_those_of_the_standard_and_others_are_refused() {
        let sampler = |name, share| format!("{:?}", args("", name, share).sampler(&mut Problems::new()).unwrap());
        assert_eq!(sampler("", ""), "ParentBased(AlwaysOn)");
        assert_eq!(sampler("always_off", ""), "AlwaysOff");
        assert_eq!(sampler("traceidratio", "0.25"), "TraceIdRatioBased(0.25)");
        assert_eq!(sampler("parentbased_traceidratio", ""), "ParentBased(TraceIdRatioBased(1.0))");
        assert!(problems_of(&args("", "jaeger_remote", "")).contains("\"jaeger_remote\" is no sampler"));
        for share in ["1.5", "-1", "half", "NaN"] {
            assert!(problems_of(&args("", "traceidratio", share)).contains("is no share from 0 to 1"));
        }
    }
}
