//! Signing in through other providers.
//!
//! What differs between providers lies behind a [`Connection`]: where it sends people, and what it makes of the code
//! that they come back with.

mod answers;
mod bluesky;
mod client;
mod connection;
mod id_token;
mod jwks;
mod openid;
mod providers;
mod reading;
mod tokens;

pub use connection::{Begin, Begun, Connection, Connections, Finish, Grant, Identity, Parts, ProviderFault};
