//! The admin's tools: who may do what, and why; letters to people.

mod api;
mod email_api;

pub use api::AdminApi;
pub use email_api::EmailApi;
