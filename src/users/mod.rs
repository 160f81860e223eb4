//! People with an account: rules and rows.

pub(crate) mod listing;
pub(crate) mod store;
