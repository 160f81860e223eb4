//! A collector of OpenTelemetry: takes what is sent over HTTP and reads it with the generated code.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// What was sent, as it came.
#[derive(Debug)]
pub struct Letter {
    /// The request's head.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// The collector.
pub struct Collector {
    /// Where it is.
    pub address: SocketAddr,
    letters: Arc<Mutex<Vec<Letter>>>,
}

impl Collector {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0").await
    }

    /// The same at this address.
    pub async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let letters = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&letters);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(take_letters(socket, Arc::clone(&kept)));
            }
        });
        Self { address, letters }
    }

    /// The settings of a program that sends to it.
    pub fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.address)),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=canary%2Dcollector".to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "20".to_owned()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "150".to_owned()),
        ]
    }

    /// Everything that was sent to a path, as bytes.
    pub fn heads(&self) -> Vec<String> {
        self.letters.lock().unwrap().iter().map(|letter| letter.head.clone()).collect()
    }

    /// Whether these bytes are in anything that was sent.
    pub fn was_sent(&self, words: &str) -> bool {
        let letters = self.letters.lock().unwrap();
        let words = words.as_bytes();
        letters.iter().any(|letter| letter.body.windows(words.len()).any(|part| part == words))
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Span> {
        let requests: Vec<ExportTraceServiceRequest> = self.read("/v1/traces");
        let resources = requests.into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|of| of.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// The spans of a trace so far.
    pub fn trace(&self, id: [u8; 16]) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace_id == id).collect()
    }

    /// The newest measurements, and who sent them.
    pub fn measures(&self) -> Option<(Resource, Vec<Metric>)> {
        let requests: Vec<ExportMetricsServiceRequest> = self.read("/v1/metrics");
        let of = requests.into_iter().next_back()?.resource_metrics.into_iter().next()?;
        Some((of.resource?, of.scope_metrics.into_iter().flat_map(|scope| scope.metrics).collect()))
    }

    fn read<M: Message + Default>(&self, path: &str) -> Vec<M> {
        let letters = self.letters.lock().unwrap();
        let there = letters.iter().filter(|letter| letter.head.starts_with(&format!("POST {path} ")));
        there.map(|letter| M::decode(&*letter.body).expect("what a collector can read")).collect()
    }
}

/// A trace's id as it is sent.
pub fn bytes(trace: &str) -> [u8; 16] {
    Uuid::parse_str(trace).unwrap().into_bytes()
}

/// What a span says of itself.
pub fn fact(span: &Span, name: &str) -> Option<String> {
    let fact = span.attributes.iter().find(|fact| fact.key == name)?;
    match fact.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

/// The first span of this name.
pub fn named<'s>(spans: &'s [Span], name: &str) -> Option<&'s Span> {
    spans.iter().find(|span| span.name == name)
}

async fn take_letters(mut socket: TcpStream, letters: Arc<Mutex<Vec<Letter>>>) {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        let length = end.map(|end| {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let line = head.lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
            (end + 4, line.map_or(0, |length| length.parse::<usize>().unwrap()))
        });
        if let Some((begins, length)) = length
            && bytes.len() >= begins + length
        {
            let rest = bytes.split_off(begins + length);
            let body = bytes.split_off(begins);
            letters.lock().unwrap().push(Letter { head: String::from_utf8(bytes).unwrap(), body });
            bytes = rest;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            if socket.write_all(answer).await.is_err() {
                return;
            }
            continue;
        }
        let mut part = [0; 8192];
        match socket.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
    }
}
