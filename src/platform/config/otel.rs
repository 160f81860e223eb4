//! Where traces and measurements go, by the variables that every program with OpenTelemetry knows.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Position, Url};

use super::catalogue::section;
use super::kinds::{Choice, Flag, Kind, MASK, Optional, Secret, Shape, TEXT, Whole, Word};
use super::reader::{Noted, Reader};
use crate::platform::telemetry::otlp::{Destination, OtlpSettings};
use crate::platform::telemetry::sampling::Sampler;

section! {
    /// Where traces and measurements go.
    struct Variables {
        /// Address of a collector (OTLP over HTTP), as `http://collector:4318`; traces and metrics go there. Unset: nowhere.
        endpoint: Option<Url> = "OTEL_EXPORTER_OTLP_ENDPOINT", Optional(ADDRESS), "";
        /// The whole address for traces, where it is another one.
        traces_endpoint: Option<Url> = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Optional(ADDRESS), "";
        /// The whole address for metrics, where it is another one.
        metrics_endpoint: Option<Url> = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", Optional(ADDRESS), "";
        /// Headers for the collector, such as a key.
        headers: HeaderMap = "OTEL_EXPORTER_OTLP_HEADERS", Secret(HEADERS), "";
        /// Headers for traces, beside those.
        traces_headers: HeaderMap = "OTEL_EXPORTER_OTLP_TRACES_HEADERS", Secret(HEADERS), "";
        /// Headers for metrics, beside those.
        metrics_headers: HeaderMap = "OTEL_EXPORTER_OTLP_METRICS_HEADERS", Secret(HEADERS), "";
        /// The one protocol that is spoken.
        protocol: Protocol = "OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOL, "http/protobuf";
        /// How long a collector's answer is waited for, in milliseconds.
        timeout: u64 = "OTEL_EXPORTER_OTLP_TIMEOUT", Whole(100, 60_000), "10000";
        /// Whether traces are sent where there is an address: `otlp` or `none`.
        traces_exporter: bool = "OTEL_TRACES_EXPORTER", EXPORTER, "otlp";
        /// Whether metrics are sent where there is an address: `otlp` or `none`.
        metrics_exporter: bool = "OTEL_METRICS_EXPORTER", EXPORTER, "otlp";
        /// What this program is called where traces and metrics are looked at.
        service_name: String = "OTEL_SERVICE_NAME", TEXT, "";
        /// What else is said of it, as `deployment.environment.name=staging,host.name=a`.
        resource: Vec<(String, String)> = "OTEL_RESOURCE_ATTRIBUTES", PAIRS, "";
        /// Which traces are recorded; with `parentbased_`, the caller's decision counts where it has made one.
        sampler: Share = "OTEL_TRACES_SAMPLER", SAMPLER, "parentbased_always_on";
        /// The share of traces for the samplers with `traceidratio`, from 0 to 1.
        ratio: f64 = "OTEL_TRACES_SAMPLER_ARG", RATIO, "1.0";
        /// How long spans wait for company, in milliseconds.
        delay: u64 = "OTEL_BSP_SCHEDULE_DELAY", Whole(10, 60_000), "5000";
        /// How often metrics are sent, in milliseconds.
        interval: u64 = "OTEL_METRIC_EXPORT_INTERVAL", Whole(100, 3_600_000), "60000";
        /// Sends nothing, whatever else is set.
        disabled: bool = "OTEL_SDK_DISABLED", Flag, "false";
    }
}

/// The settings of this section.
pub(super) const SETTINGS: &[super::Setting] = Variables::SETTINGS;

/// What is sent, and where to.
pub(super) fn read(reader: &mut Reader) -> Result<OtlpSettings, Noted> {
    let variables = Variables::read(reader)?;
    let Protocol::HttpProtobuf = variables.protocol;
    let destination = |is_on: bool, own: Option<&Url>, path: &str, headers: &HeaderMap| {
        let url = own.cloned().or_else(|| variables.endpoint.as_ref().map(|base| below(base, path)));
        let url = url.filter(|_| is_on && !variables.disabled)?;
        let mut all = variables.headers.clone();
        all.extend(headers.clone());
        Some(Destination { url, headers: all })
    };
    let traces = (variables.traces_exporter, variables.traces_endpoint.as_ref());
    let metrics = (variables.metrics_exporter, variables.metrics_endpoint.as_ref());
    let share = variables.sampler;
    Ok(OtlpSettings {
        traces: destination(traces.0, traces.1, "v1/traces", &variables.traces_headers),
        metrics: destination(metrics.0, metrics.1, "v1/metrics", &variables.metrics_headers),
        resource: resource(&variables),
        sampler: Sampler { obeys_parent: share.obeys_parent, ratio: share.ratio.unwrap_or(variables.ratio) },
        timeout: Duration::from_millis(variables.timeout),
        delay: Duration::from_millis(variables.delay),
        interval: Duration::from_millis(variables.interval),
    })
}

/// The name that was given goes before the one among the attributes, and that before the program's own.
fn resource(variables: &Variables) -> Vec<(String, String)> {
    let mut all = variables.resource.clone();
    let mut put =
        |name: &str, text: &str, wins: bool| match all.iter_mut().find(|(present, _)| present == name) {
            Some((_, present)) if wins => text.clone_into(present),
            Some(_) => {}
            None => all.push((name.to_owned(), text.to_owned())),
        };
    if !variables.service_name.is_empty() {
        put("service.name", &variables.service_name, true);
    }
    put("service.name", env!("CARGO_PKG_NAME"), false);
    put("service.version", env!("CARGO_PKG_VERSION"), false);
    all
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// Kind of the addresses of collectors. Shown without user name, password and query, in which keys may stand.
struct Address;

const ADDRESS: Address = Address;

impl Shape for Address {
    fn accepts(&self) -> String {
        "an address that begins with http:// or https://".to_owned()
    }

    fn shown(&self, text: &str) -> String {
        let Some(url) = self.parse(text) else {
            // What is no address may still hold a key.
            return if text.contains(['@', '?']) { MASK } else { text }.to_owned();
        };
        let (names_user, asks) =
            (!url.username().is_empty() || url.password().is_some(), url.query().is_some());
        if !names_user && !asks {
            return text.to_owned();
        }
        let user = if names_user { format!("{MASK}@") } else { String::new() };
        let query = if asks { format!("?{MASK}") } else { String::new() };
        format!("{}://{user}{}{query}", url.scheme(), &url[Position::BeforeHost..Position::AfterPath])
    }
}

impl Kind for Address {
    type Value = Url;

    fn parse(&self, text: &str) -> Option<Url> {
        let url: Url = text.parse().ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
    }
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug)]
enum Protocol {
    HttpProtobuf,
}

const PROTOCOL: Choice<Protocol> = Choice(&[("http/protobuf", Protocol::HttpProtobuf)]);

const EXPORTER: Choice<bool> = Choice(&[("otlp", true), ("none", false)]);

/// Which traces are recorded.
#[derive(Clone, Copy, Debug)]
struct Share {
    obeys_parent: bool,
    /// None: as `OTEL_TRACES_SAMPLER_ARG` says.
    ratio: Option<f64>,
}

const fn share(obeys_parent: bool, ratio: Option<f64>) -> Share {
    Share { obeys_parent, ratio }
}

const SAMPLER: Choice<Share> = Choice(&[
    ("always_on", share(false, Some(1.0))),
    ("always_off", share(false, Some(0.0))),
    ("traceidratio", share(false, None)),
    ("parentbased_always_on", share(true, Some(1.0))),
    ("parentbased_always_off", share(true, Some(0.0))),
    ("parentbased_traceidratio", share(true, None)),
]);

const RATIO: Word<f64> = Word {
    accepts: "a number from 0 to 1",
    parse: |text| text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)),
};

/// `name=value` with commas between, values percent-encoded (W3C Baggage).
const PAIRS: Word<Vec<(String, String)>> =
    Word { accepts: "name=value, with commas between, values percent-encoded", parse: pairs };

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let good = !name.trim().is_empty() && !value.chars().any(char::is_control);
        good.then(|| (name.trim().to_owned(), value.into_owned()))
    };
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(pair).collect()
}

const HEADERS: Word<HeaderMap> = Word {
    accepts: "header=value, with commas between, values percent-encoded",
    parse: |text| {
        let header = |(name, value): (String, String)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        };
        pairs(text)?.into_iter().map(header).collect()
    },
};
