//! Spans of what is published: each in the trace of the request that caused its event.

use super::Broker;
use super::link::{Fate, Trouble};
use super::message::Message;
use crate::platform::telemetry::spans::{Fact, Role, Span, Tracer};

/// The spans of messages that are on their way, in their order; none where nothing is recorded. They end with this.
pub(super) struct Spans(Vec<(Option<Span>, u64)>);

impl Broker {
    /// Begins a span for each of these, if its trace is recorded. The names of facts are those of OpenTelemetry's conventions
    /// for messaging.
    pub(super) fn spans_of(&self, messages: &[Message]) -> Spans {
        let Some(tracer) = &self.0.parts.tracer else { return Spans(Vec::new()) };
        let begin = |message: &Message| {
            let span = self.span_of(tracer, message);
            (span, u64::from_be_bytes(message.trace.span))
        };
        Spans(messages.iter().map(begin).collect())
    }

    fn span_of(&self, tracer: &Tracer, message: &Message) -> Option<Span> {
        let settings = &self.0.settings;
        let destination = format!("{}:{}", settings.exchange, message.key);
        let mut span =
            tracer.later(message.trace.trace, &format!("publish {destination}"), Role::Producer)?;
        let (server, port) = settings.address.place();
        let facts = [
            ("messaging.system", Fact::Word("rabbitmq")),
            ("messaging.operation.name", Fact::Word("publish")),
            ("messaging.operation.type", Fact::Word("send")),
            ("messaging.destination.name", Fact::Text(destination)),
            ("messaging.rabbitmq.destination.routing_key", Fact::Text(message.key.to_string())),
            ("messaging.message.id", Fact::Text(message.id.to_string())),
            (
                "messaging.message.body.size",
                Fact::Number(i64::try_from(message.body.len()).unwrap_or(i64::MAX)),
            ),
            ("server.address", Fact::Text(server.to_owned())),
            ("server.port", Fact::Number(port.into())),
        ];
        for (name, fact) in facts {
            span.fact(name, fact);
        }
        Some(span)
    }
}

impl Spans {
    /// Says what became of the messages. What arrived is known by the id that the message names as the parent of whatever
    /// follows from it.
    pub(super) fn end(self, fates: &[Fate]) {
        for ((span, id), fate) in self.0.into_iter().zip(fates) {
            let Some(mut span) = span else { continue };
            match fate {
                Fate::Confirmed => span.known_as(id),
                Fate::Returned => fail(&mut span, "unrouted"),
                Fate::Nacked => fail(&mut span, "nack"),
            }
        }
    }

    /// Says that nobody knows what became of them, or that one of them was refused.
    pub(super) fn fail(self, trouble: &Trouble) {
        let word = if matches!(trouble, Trouble::Refused(_)) { "refused" } else { "connection" };
        for mut span in self.0.into_iter().filter_map(|(span, _)| span) {
            fail(&mut span, word);
        }
    }
}

fn fail(span: &mut Span, word: &'static str) {
    span.fact("error.type", Fact::Word(word));
    span.fail();
}
