//! Pages for people: rendered here, in three languages, with one look and a content policy of their own.
//!
//! The pages of the door are plain forms that need no script. Pages for those who are signed in ([`Inside`]) can be read
//! without script, and change things through the API by the small scripts of `static/js`.

mod account;
mod assets;
mod back;
mod console;
mod door;
mod faults;
mod form;
mod front;
mod inbox;
mod inside;
mod reader;
mod render;
mod set_up;
mod words;

pub use account::AccountPages;
pub use assets::Assets;
pub use console::ConsolePages;
pub use door::DoorPages;
pub use front::FrontPages;
pub use inbox::InboxPage;
pub use inside::{Inside, SignedIn, see_other, to_sign_in};
pub use reader::{Person, Reader};
pub use render::{Pages, Settings};
pub use set_up::SetUpPage;
pub use words::{Language, Words};

use form::{foreign_form, read_form};
