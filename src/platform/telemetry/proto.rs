//! What a collector is sent (OpenTelemetry Protocol 1.x), as protobuf.
//!
//! Of protobuf this takes four shapes of a field, so they are written by hand; the numbers are those of
//! `opentelemetry/proto/{trace,metrics,common,resource}/v1/*.proto`. A test reads it all back with the generated code.

use super::metrics::{Family, Kind, Measure, Sample};
use super::spans::{Ended, Fact};

/// Counts go on from the start of the program (`AGGREGATION_TEMPORALITY_CUMULATIVE`).
const CUMULATIVE: u64 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// A message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or_default());
    }

    fn key(&mut self, field: u64, shape: u64) {
        self.raw(field << 3 | shape);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.key(field, 0);
        self.raw(number);
    }

    fn fixed(&mut self, field: u64, number: u64) {
        self.key(field, 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn double(&mut self, field: u64, number: f64) {
        self.fixed(field, number.to_bits());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, 2);
        self.raw(u64::try_from(bytes.len()).unwrap_or_default());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn packed(&mut self, field: u64, numbers: impl Iterator<Item = u64>) {
        let all: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        self.bytes(field, &all);
    }

    /// A `KeyValue` with a text.
    fn label(&mut self, field: u64, name: &str, text: &str) {
        self.message(field, |pair| {
            pair.text(1, name);
            pair.message(2, |value| value.text(1, text));
        });
    }

    fn fact(&mut self, field: u64, name: &str, fact: &Fact) {
        match fact {
            Fact::Word(text) => self.label(field, name, text),
            Fact::Text(text) => self.label(field, name, text),
            Fact::Number(number) => self.message(field, |pair| {
                pair.text(1, name);
                pair.message(2, |value| value.number(3, number.cast_unsigned()));
            }),
        }
    }
}

/// Who sends: the attributes of the resource.
pub(super) type Resource = [(String, String)];

/// The envelope that spans and measurements share: resource, scope, and what is in it.
fn enveloped(resource: &Resource, write: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |of_resource| {
        of_resource.message(1, |about| {
            for (name, text) in resource {
                about.label(1, name, text);
            }
        });
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.text(1, env!("CARGO_PKG_NAME"));
                scope.text(2, env!("CARGO_PKG_VERSION"));
            });
            write(of_scope);
        });
    });
    request.0
}

/// An `ExportTraceServiceRequest`.
pub(super) fn spans(resource: &Resource, spans: &[Ended]) -> Vec<u8> {
    enveloped(resource, |scope| {
        for span in spans {
            scope.message(2, |message| write_span(message, span));
        }
    })
}

fn write_span(message: &mut Message, span: &Ended) {
    message.bytes(1, &span.trace);
    message.bytes(2, &span.id.to_be_bytes());
    if span.parent != 0 {
        message.bytes(4, &span.parent.to_be_bytes());
    }
    message.text(5, &span.name);
    message.number(6, span.role as u64);
    message.fixed(7, span.begun);
    message.fixed(8, span.ended);
    for (name, fact) in &span.facts {
        message.fact(9, name, fact);
    }
    if span.failed {
        message.message(15, |status| status.number(3, ERROR));
    }
}

/// Since when is counted, and until when: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub(super) begun: u64,
    pub(super) now: u64,
}

/// An `ExportMetricsServiceRequest`.
pub(super) fn measures(resource: &Resource, families: &[Family], period: Period) -> Vec<u8> {
    enveloped(resource, |scope| {
        for family in families.iter().filter(|family| !family.samples.is_empty()) {
            scope.message(2, |message| write_family(message, family, period));
        }
    })
}

fn write_family(message: &mut Message, family: &Family, period: Period) {
    message.text(1, family.name);
    message.text(2, family.help);
    let points = |data: &mut Message| {
        for sample in &family.samples {
            data.message(1, |point| write_point(point, sample, period));
        }
    };
    match family.kind {
        Kind::Gauge => message.message(5, points),
        Kind::Counter => message.message(7, |sum| {
            points(sum);
            sum.number(2, CUMULATIVE);
            sum.number(3, 1);
        }),
        Kind::Histogram => message.message(9, |histogram| {
            points(histogram);
            histogram.number(2, CUMULATIVE);
        }),
    }
}

fn write_point(point: &mut Message, sample: &Sample, period: Period) {
    point.fixed(2, period.begun);
    point.fixed(3, period.now);
    let labels = match &sample.measure {
        Measure::Number(number) => {
            point.double(4, *number);
            7
        }
        Measure::Spread(spread) => {
            point.fixed(4, spread.count());
            point.double(5, spread.sum);
            point.packed(6, spread.counts.iter().copied());
            point.packed(7, spread.bounds.iter().map(|bound| bound.to_bits()));
            9
        }
    };
    for (name, text) in &sample.labels {
        point.label(labels, name, text);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
    use prost::Message as _;

    use super::super::metrics::Spread;
    use super::super::spans::Role;
    use super::*;

    fn resource() -> Vec<(String, String)> {
        vec![("service.name".to_owned(), "gatehouse".to_owned())]
    }

    #[test]
    fn a_span_is_read_as_it_was_meant() {
        let span = Ended {
            trace: [1; 16],
            id: 2,
            parent: 3,
            name: "GET /x".into(),
            role: Role::Server,
            begun: 1_767_225_600_000_000_000,
            ended: 1_767_225_600_000_000_300,
            facts: vec![("a", Fact::Word("b")), ("n", Fact::Number(-1)), ("t", Fact::Text("ü".into()))],
            failed: true,
        };
        let read = ExportTraceServiceRequest::decode(&*spans(&resource(), &[span])).unwrap();
        let of_resource = &read.resource_spans[0];
        assert_eq!(of_resource.resource.as_ref().unwrap().attributes[0].key, "service.name");
        let scope = &of_resource.scope_spans[0];
        assert_eq!(scope.scope.as_ref().unwrap().name, "gatehouse");
        let span = &scope.spans[0];
        assert_eq!((&span.trace_id[..], &span.span_id[..]), (&[1; 16][..], &2_u64.to_be_bytes()[..]));
        assert_eq!((&span.parent_span_id[..], &*span.name), (&3_u64.to_be_bytes()[..], "GET /x"));
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 300);
        assert_eq!((span.kind, span.status.as_ref().unwrap().code), (2, 2));
        let facts = format!("{:?}", span.attributes);
        assert!(facts.contains("IntValue(-1)") && facts.contains("StringValue(\"ü\")"), "{facts}");
    }

    #[test]
    fn measurements_are_read_as_they_were_meant() {
        let spread = Spread { bounds: &[0.1, 1.0], counts: vec![3, 2, 1], sum: 4.5 };
        let families = [
            Family::counter("a_total", "A.", vec![Sample::labelled([("k", "v")], 300.0)]),
            Family::gauge("b", "B.", vec![Sample::plain(-2.5)]),
            Family::histogram(
                "c_seconds",
                "C.",
                vec![Sample { labels: vec![], measure: Measure::Spread(spread) }],
            ),
            Family::gauge("d", "Nothing is known of it.", vec![]),
        ];
        let bytes = measures(&resource(), &families, Period { begun: 1, now: 2 });
        let read = ExportMetricsServiceRequest::decode(&*bytes).unwrap();
        let metrics = &read.resource_metrics[0].scope_metrics[0].metrics;
        assert_eq!(
            metrics.iter().map(|metric| &*metric.name).collect::<Vec<_>>(),
            ["a_total", "b", "c_seconds"]
        );
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("a sum") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        let point = &sum.data_points[0];
        assert_eq!((point.value, point.start_time_unix_nano), (Some(Value::AsDouble(300.0)), 1));
        assert_eq!(point.attributes[0].key, "k");
        let Some(Data::Histogram(histogram)) = &metrics[2].data else { panic!("a histogram") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (6, Some(4.5)));
        assert_eq!((&point.bucket_counts[..], &point.explicit_bounds[..]), (&[3, 2, 1][..], &[0.1, 1.0][..]));
    }
}
