//! Pages for people: small, without script, with a content policy of their own.

mod door;
mod render;
mod set_up;

pub use door::DoorPages;
pub use render::Pages;
pub use set_up::SetUpPage;
