//! Signing in through other providers.

mod accounts;
mod bluesky;
mod canary;
mod flow;
pub mod idp;
mod people;
mod providers;
mod races;
pub mod scene;
