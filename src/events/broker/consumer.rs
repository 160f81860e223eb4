//! The built-in consumer: writes each event to the log, under the trace id of the request that caused it.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions};
use lapin::types::FieldTable;
use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::link::{Link, Trouble};
use super::outage::Part;
use super::{Broker, Pause};
use crate::platform::web::TraceId;

/// Messages that are handed to us before we have handled the first.
const PREFETCH: u16 = 10;

/// An event, as far as it is logged.
#[derive(Debug, Deserialize)]
struct Told {
    event_id: Uuid,
    event_type: String,
    user_id: Uuid,
    trace_id: Option<String>,
    sequence: i64,
    #[serde(rename = "timestamp")]
    _timestamp: IgnoredAny,
    #[serde(rename = "data")]
    _data: IgnoredAny,
}

/// How handling a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handled {
    Well,
    /// It is no event.
    NotUnderstood,
    /// Something broke.
    Broken,
}

/// What the broker is told of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    Again,
    Dead,
}

impl Handled {
    /// What breaks us is tried twice: it may have been our own fault.
    const fn verdict(self, redelivered: bool) -> Verdict {
        match self {
            Self::Well => Verdict::Done,
            Self::Broken if !redelivered => Verdict::Again,
            Self::Broken | Self::NotUnderstood => Verdict::Dead,
        }
    }
}

impl Broker {
    /// Consumes for ever, and finds the broker again whenever it was lost. What was not handled then comes again.
    pub(super) async fn consume(self) {
        let mut pause = Pause::new();
        loop {
            let trouble = self.consume_until_trouble(&mut pause).await;
            self.0.outage.begin(Part::Consumer, &trouble);
            tokio::time::sleep(pause.next(&self.0.parts.ground.random)).await;
        }
    }

    async fn consume_until_trouble(&self, pause: &mut Pause) -> Trouble {
        match self.consume_all(pause).await {
            Ok(()) => Trouble::Cancelled,
            Err(trouble) => trouble,
        }
    }

    /// Handles whatever comes, until the broker takes the queue away.
    async fn consume_all(&self, pause: &mut Pause) -> Result<(), Trouble> {
        let Some(queue) = &self.0.settings.queue else { return Ok(()) };
        let link = self.connect("consumer").await?;
        link.declare(&self.0.settings).await?;
        link.prefetch(PREFETCH).await?;
        let mut deliveries = self.deliveries(&link, queue).await?;
        self.0.outage.end(Part::Consumer);
        pause.reset();
        while let Some(delivery) = deliveries.next().await {
            self.take(delivery?).await?;
        }
        Ok(())
    }

    async fn deliveries(&self, link: &Link, queue: &str) -> Result<lapin::Consumer, Trouble> {
        let (options, more) = (BasicConsumeOptions::default(), FieldTable::default());
        Ok(link.channel().basic_consume(queue.into(), "".into(), options, more).await?)
    }

    /// Handles a message, and tells the broker what to do with it.
    async fn take(&self, delivery: Delivery) -> Result<(), Trouble> {
        let handling = AssertUnwindSafe(self.handle(&delivery.data)).catch_unwind().await;
        let handled = handling.unwrap_or(Handled::Broken);
        let nack = |requeue| BasicNackOptions { requeue, ..BasicNackOptions::default() };
        match handled.verdict(delivery.redelivered) {
            Verdict::Done => delivery.ack(BasicAckOptions::default()).await?,
            Verdict::Again => delivery.nack(nack(true)).await?,
            Verdict::Dead => delivery.nack(nack(false)).await?,
        };
        Ok(())
    }

    async fn handle(&self, body: &[u8]) -> Handled {
        let Some((told, trace_id)) = understood(body) else {
            if let Some(messages) = self.0.odd.happened(1) {
                tracing::warn!(
                    messages,
                    "what came from RabbitMQ is no event; it ends in the dead-letter queue"
                );
            }
            return Handled::NotUnderstood;
        };
        let logging = async { told.log() };
        match trace_id {
            Some(trace_id) => trace_id.scope(logging).await,
            None => logging.await,
        }
        self.0.counts.consumed.fetch_add(1, Ordering::Relaxed);
        Handled::Well
    }
}

impl Told {
    fn log(&self) {
        tracing::info!(
            target: "gatehouse::events::consumer",
            event = %self.event_id, event_type = self.event_type, user = %self.user_id, sequence = self.sequence,
            "event"
        );
    }
}

/// An event, and the trace id of its request. What has one that is none is no event of ours.
fn understood(body: &[u8]) -> Option<(Told, Option<TraceId>)> {
    let told: Told = serde_json::from_slice(body).ok()?;
    let trace_id = match &told.trace_id {
        Some(text) => Some(TraceId::parse(text)?),
        None => None,
    };
    Some((told, trace_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"event_id":"00000000-0000-0000-0000-000000000001","event_type":"user.banned",
        "user_id":"00000000-0000-0000-0000-000000000002","trace_id":"order-66",
        "timestamp":"2026-01-01T00:00:00.007Z","sequence":3,"data":{"reason":null}}"#;

    #[test]
    fn an_event_is_understood_and_nothing_else_is() {
        let (told, trace_id) = understood(EVENT.as_bytes()).unwrap();
        assert_eq!((told.sequence, trace_id.unwrap().as_str()), (3, "order-66"));
        assert!(understood(EVENT.replace("\"order-66\"", "null").as_bytes()).unwrap().1.is_none());
        for odd in
            ["", "{}", "[]", "\u{0}", &EVENT.replace("order-66", "two words"), &EVENT.replace(":3", ":\"3\"")]
        {
            assert!(understood(odd.as_bytes()).is_none(), "{odd}");
        }
        assert!(understood(&[0xff, 0xfe]).is_none());
    }

    #[test]
    fn what_breaks_us_twice_is_dead_and_what_is_no_event_at_once() {
        assert_eq!(Handled::Well.verdict(true), Verdict::Done);
        assert_eq!(Handled::Broken.verdict(false), Verdict::Again);
        assert_eq!(Handled::Broken.verdict(true), Verdict::Dead);
        assert_eq!(Handled::NotUnderstood.verdict(false), Verdict::Dead);
    }
}
