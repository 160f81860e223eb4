//! Who is calling: sessions, access and refresh tokens, signing keys.

mod caller;
mod roles;
pub(crate) mod store;

pub use caller::Caller;
pub use roles::{Role, Roles};
