//! What waits to be published, for readiness and metrics.

use std::time::Duration;

use sea_orm::DbErr;

use super::{Broker, store};

/// A backlog that is no older counts as none: a broker may restart.
const TOLERATED: Duration = Duration::from_mins(1);

/// What waits to be published, by whichever instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many events; more than a million are not counted.
    pub pending: u64,
    /// How old the first of them is.
    pub age: Option<Duration>,
}

impl Broker {
    /// What waits to be published.
    pub async fn backlog(&self) -> Result<Backlog, DbErr> {
        let pending = store::pending(self.0.parts.db.reader()).await?;
        Ok(Backlog { pending, age: self.age().await? })
    }

    /// The state as a readiness report shows it.
    pub async fn state(&self) -> String {
        match self.age().await {
            Ok(Some(age)) if age > TOLERATED => {
                format!(
                    "degraded: the oldest event that RabbitMQ has not confirmed is {} s old",
                    age.as_secs()
                )
            }
            Ok(_) => "ok".to_owned(),
            Err(_) => "degraded: the backlog can't be read".to_owned(),
        }
    }

    async fn age(&self) -> Result<Option<Duration>, DbErr> {
        let oldest = store::oldest(self.0.parts.db.reader()).await?;
        Ok(oldest.map(|oldest| self.0.parts.clock.now().since(oldest)))
    }
}
