//! Bluesky, and every other account of the AT Protocol: <https://atproto.com/specs/oauth>.
//!
//! There is no one provider. Who names no handle is asked by Bluesky itself, where most accounts are. From a handle follows
//! the DID, from the DID the server that keeps the account, from that its authorization server; there the sign-in is
//! announced in advance (PAR, RFC 9126), each request is bound to a key of this sign-in (DPoP, RFC 9449), and the token
//! that comes back must name the DID that the handle led to, or, without a handle, one whose own server leaves it to this
//! authorization server.

mod client;
mod es256;
mod flow;
mod identity;
mod post;

use std::sync::Arc;

pub use self::client::ClientMetadata;
pub use self::es256::ClientKey;
use self::es256::Es256;
pub use self::identity::Way;
use super::connection::ConnectionParts;
use crate::platform::clock::Clock;
use crate::platform::random::Random;

/// Its name in paths.
pub const NAME: &str = "bluesky";
/// Its name for people.
pub const SHOWN_NAME: &str = "Bluesky";
/// What is asked for: who somebody is, and nothing that could be done in their name.
const SCOPE: &str = "atproto";
/// Where the pictures are.
pub const PICTURES: &str = "cdn.bsky.app";
/// The label of the key that proves that this server is the client that it says.
const KEY: &str = "AT Protocol client";

/// This server as a client of every authorization server of the AT Protocol.
pub struct Bluesky {
    way: Way,
    clock: Clock,
    random: Random,
    project_name: String,
    base_url: String,
    redirect_uri: String,
    /// The key by which a server with a public address proves itself; without one, this is somebody's own machine.
    key: Option<Arc<Es256>>,
}

impl Bluesky {
    pub fn new(way: Way, parts: &ConnectionParts) -> anyhow::Result<Self> {
        let key = if parts.base_url.starts_with("https://") {
            let key = Es256::derived(&parts.secrets.derive(KEY));
            Some(Arc::new(
                key.ok_or_else(|| anyhow::anyhow!("JWT_SECRET_KEY gives no key for Bluesky; take another"))?,
            ))
        } else {
            None
        };
        Ok(Self {
            way,
            clock: parts.clock.clone(),
            random: parts.random.clone(),
            project_name: parts.project_name.clone(),
            base_url: parts.base_url.clone(),
            redirect_uri: format!("{}/oauth/bluesky/callback", parts.api_url),
            key,
        })
    }
}
