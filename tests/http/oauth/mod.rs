//! Signing in through other providers.

pub mod idp;
mod providers;
