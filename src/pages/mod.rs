//! Pages for people: small, without script, with a content policy of their own.

mod door;
mod inbox;
mod render;
mod set_up;

pub use door::DoorPages;
pub use inbox::InboxPage;
pub use render::Pages;
pub use set_up::SetUpPage;
