//! What waits to be published, for readiness and metrics.

use std::time::Duration;

use sea_orm::DbErr;

use super::{Broker, store};
use crate::events::store::{HELD, PARKED};
use crate::platform::part_state::PartState;
use crate::platform::telemetry::metrics::{Family, Sample, number};

/// A backlog that is no older counts as none: a broker may restart.
const TOLERATED: Duration = Duration::from_mins(1);

/// What waits to be published, by whichever instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many events; more than a million are not counted.
    pub pending: u64,
    /// How old the first of them is.
    pub age: Option<Duration>,
    /// How many events the broker refuses for themselves.
    pub parked: u64,
    /// How many wait behind one of those.
    pub held: u64,
}

impl Broker {
    /// What waits to be published.
    pub async fn backlog(&self) -> Result<Backlog, DbErr> {
        let db = self.0.parts.ground.db.reader();
        let (pending, age) = (store::pending(db).await?, self.age().await?);
        let (parked, held) = (store::aside(db, PARKED).await?, store::aside(db, HELD).await?);
        Ok(Backlog { pending, age, parked, held })
    }

    /// What waits, and what this instance has done, as measurements; none where the database does not say.
    pub async fn measures(&self) -> Option<Vec<Family>> {
        let Backlog { pending, age, parked, held } = self.backlog().await.ok()?;
        let counts = self.counts();
        let outcomes =
            [("published", counts.published()), ("unrouted", counts.unrouted()), ("parked", counts.parked())];
        let outcomes =
            outcomes.map(|(outcome, count)| Sample::labelled([("outcome", outcome)], number(count)));
        let aside = [(PARKED, parked), (HELD, held)]
            .map(|(trouble, count)| Sample::labelled([("trouble", trouble)], number(count)));
        let gauge = |name, help, value| Family::gauge(name, help, vec![Sample::plain(value)]);
        Some(vec![
            gauge("gatehouse_outbox_pending", "Events that RabbitMQ has not confirmed.", number(pending)),
            Family::gauge(
                "gatehouse_outbox_aside",
                "Events that RabbitMQ refuses, and those of the same users that wait behind them.",
                aside.into(),
            ),
            gauge(
                "gatehouse_outbox_oldest_seconds",
                "How old the oldest event is that RabbitMQ has not confirmed.",
                age.unwrap_or_default().as_secs_f64(),
            ),
            Family::counter(
                "gatehouse_outbox_events_total",
                "Events that this instance handed over, and what became of them.",
                outcomes.into(),
            ),
        ])
    }

    /// The state as a readiness report shows it.
    pub async fn state(&self) -> PartState {
        let why = match self.standing().await {
            Ok((Some(age), _)) if age > TOLERATED => {
                format!("the oldest event that RabbitMQ has not confirmed is {} s old", age.as_secs())
            }
            Ok((_, 1..)) => {
                "RabbitMQ refuses events, and later ones of the same users wait: replay or skip them"
                    .to_owned()
            }
            Ok(_) => return PartState::Good,
            Err(_) => "the backlog can't be read".to_owned(),
        };
        PartState::Degraded(why)
    }

    /// How old the oldest event is that can be sent, and how many are parked.
    async fn standing(&self) -> Result<(Option<Duration>, u64), DbErr> {
        Ok((self.age().await?, store::aside(self.0.parts.ground.db.reader(), PARKED).await?))
    }

    async fn age(&self) -> Result<Option<Duration>, DbErr> {
        let oldest = store::oldest(self.0.parts.ground.db.reader()).await?;
        Ok(oldest.map(|oldest| self.0.parts.ground.clock.now().since(oldest)))
    }
}
