//! People with an account: rules and rows.
//!
//! What a person types becomes a value type once, at the door, and is valid ever after. [`Invalid`] says in words
//! why a value was turned away; the caller knows which field it belongs to.

mod description;
mod display_name;
mod email;
mod identifier;
mod invalid;
mod locale;
mod metadata;
mod person_name;
mod text;
mod username;

pub use description::Description;
pub use display_name::DisplayName;
pub use email::Email;
pub use identifier::Identifier;
pub use invalid::Invalid;
pub use locale::Locale;
pub use metadata::Metadata;
pub use person_name::PersonName;
pub use username::Username;

pub(crate) mod listing;
pub(crate) mod store;
