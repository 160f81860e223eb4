//! The admin's tools: who may do what, and why; bans, sessions, what staff did; letters to people; what other systems are told.

mod audit_api;
mod bans_api;
mod email_api;
mod events_api;
mod permissions_api;
mod sessions_api;
mod shapes;
mod stats_api;

pub use audit_api::AuditApi;
pub use bans_api::BansApi;
pub use email_api::EmailApi;
pub use events_api::EventsApi;
pub use permissions_api::PermissionsApi;
pub use sessions_api::UserSessionsApi;
pub use shapes::shapes;
pub use stats_api::{StatsApi, StatsParts};
