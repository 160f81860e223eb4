//! The admin's tools: who may do what, and why.

mod api;

pub use api::AdminApi;
