//! The admin's tools: who may do what, and why; letters to people; what other systems are told.

mod api;
mod email_api;
mod events_api;

pub use api::AdminApi;
pub use email_api::EmailApi;
pub use events_api::EventsApi;
