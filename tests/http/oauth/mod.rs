//! Signing in through other providers.

mod bluesky;
pub mod idp;
mod providers;
