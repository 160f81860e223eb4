//! How many requests a client may make, of whatever kind.

use std::net::IpAddr;
use std::sync::Arc;

use poem::Response;

use crate::rate_limit::{Counted, Meter};

/// Signs of life and measurements, for those who ask all the time.
const SIGNS_OF_LIFE: [&str; 5] = ["/ping", "/healthcheck", "/health/live", "/health/ready", "/metrics"];
/// Files that a client keeps for ever.
const FILES: [&str; 2] = ["/static/", "/assets/"];

/// Whether requests for this path count.
#[must_use]
pub fn is_counted(path: &str) -> bool {
    let bare = path.strip_suffix('/').unwrap_or(path);
    !SIGNS_OF_LIFE.contains(&bare) && !FILES.iter().any(|folder| path.starts_with(folder))
}

/// The limit of requests.
pub(super) struct Limited(pub(super) Arc<Meter>);

impl std::fmt::Debug for Limited {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Limited")
    }
}

impl Limited {
    pub(super) async fn count(&self, client: IpAddr) -> Counted {
        self.0.count(client).await
    }

    /// Tells the client how it stands. Being sent on to another place is no visit: that place counts it.
    pub(super) async fn settle(&self, client: IpAddr, mut counted: Counted, response: &mut Response) {
        if response.status().is_redirection() {
            self.0.give_back(client, &mut counted).await;
        }
        counted.standing().add_to(response.headers_mut());
    }
}
