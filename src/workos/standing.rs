//! How it stands with the directory: for readiness, metrics and `gatehouse check`.

use std::time::Duration;

use sea_orm::DbErr;

use super::Workos;
use super::client::Start;
use super::store;
use crate::platform::clock::Timestamp;
use crate::platform::part_state::PartState;
use crate::platform::telemetry::metrics::{Family, Sample, number};

/// How long nobody need worry where nothing was heard.
const QUIET: Duration = Duration::from_mins(1);

/// How far the directory was followed, by whichever instance follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How long ago everything there was here; none: never yet. It is written down every ten seconds.
    pub lag: Option<Duration>,
    /// How old the last event is. WorkOS keeps events for 90 days.
    pub last_event: Option<Duration>,
    /// What was done.
    pub applied: u64,
    /// What there was nothing to be done about.
    pub skipped: u64,
    /// What was set aside for people to look at.
    pub quarantined: u64,
    /// Why it does not go on, if it doesn't.
    pub trouble: Option<String>,
}

impl Workos {
    /// How it stands, as measurements; none where WorkOS has no part in anything.
    pub async fn measures(&self) -> Option<Vec<Family>> {
        let standing = self.standing().await.ok()??;
        let done = [
            ("applied", standing.applied),
            ("skipped", standing.skipped),
            ("set_aside", standing.quarantined),
        ];
        let done = done.map(|(outcome, count)| Sample::labelled([("outcome", outcome)], number(count)));
        let mut families = vec![Family::counter(
            "gatehouse_workos_events_total",
            "Events and users of the directory, and what was done about them.",
            done.into(),
        )];
        families.extend(standing.lag.map(|lag| {
            Family::gauge(
                "gatehouse_workos_lag_seconds",
                "How long ago everything of the directory was here.",
                vec![Sample::plain(lag.as_secs_f64())],
            )
        }));
        families.extend(standing.last_event.map(|age| {
            Family::gauge(
                "gatehouse_workos_last_event_age_seconds",
                "How old the last event of the directory is. WorkOS keeps events for 90 days.",
                vec![Sample::plain(age.as_secs_f64())],
            )
        }));
        Some(families)
    }

    /// How it stands; none where WorkOS has no part in anything.
    pub async fn standing(&self) -> Result<Option<Standing>, DbErr> {
        if !self.is_on() {
            return Ok(None);
        }
        let (state, now) = (store::state(self.db.reader()).await?, self.clock.now());
        let ago = |at: Option<i64>| at.map(|at| now.since(Timestamp::from_millis(at)));
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        Ok(Some(Standing {
            lag: ago(state.synced_at),
            last_event: ago(state.last_event_at),
            applied: count(state.applied),
            skipped: count(state.skipped),
            quarantined: count(state.quarantined),
            trouble: state.trouble,
        }))
    }

    /// What readiness says of it; none where WorkOS has no part in anything. The server serves without WorkOS.
    pub async fn readiness(&self) -> Option<PartState> {
        let standing = match self.standing().await {
            Ok(standing) => standing?,
            Err(_) => return Some(PartState::Degraded("its state can't be read".to_owned())),
        };
        let quiet = QUIET.max(self.settings.interval.saturating_mul(3));
        let why = match (standing.lag, standing.trouble) {
            (Some(lag), _) if lag <= quiet => return Some(PartState::Good),
            (_, Some(trouble)) => trouble,
            (None, None) => "the directory was never read to its end".to_owned(),
            (Some(_), None) => "nobody follows the directory".to_owned(),
        };
        Some(PartState::Degraded(why))
    }

    /// Asks WorkOS for both lists: what was found, or what is wrong.
    pub async fn check(&self) -> Result<String, String> {
        let Some(client) = &self.client else { return Ok("off: WORKOS_API_KEY is not set".to_owned()) };
        client.users(None, 1).await.map_err(|fault| format!("users: {fault}"))?;
        let since = Start::Moment(self.clock.now().before(QUIET));
        client.events(&since, 1).await.map_err(|fault| format!("events: {fault}"))?;
        let host = self.settings.base_url.host_str().unwrap_or_default();
        let client =
            self.settings.client_id.as_deref().map(|id| format!(", client {id}")).unwrap_or_default();
        let webhook = if self.settings.webhook_secret.is_some() { "taken" } else { "off" };
        Ok(format!("{host} shows users and events{client}; webhooks {webhook}"))
    }
}
