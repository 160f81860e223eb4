//! Webhooks: where they may lead.

use super::catalogue::section;
use super::kinds::Flag;
use super::reader::Reader;

section! {
    /// Webhooks.
    pub struct Webhooks {
        /// Whether webhooks may lead to this machine and to private networks, also by http. Otherwise they lead to public
        /// addresses by https; in `local`, also by http.
        allow_private: bool = "WEBHOOK_ALLOW_PRIVATE", Flag, "False";
    }
}

/// An admin can then reach what only this machine should.
pub(super) fn check(reader: &mut Reader) {
    if reader.glimpse("WEBHOOK_ALLOW_PRIVATE", &Flag) == Some(true) {
        reader.warn("WEBHOOK_ALLOW_PRIVATE is on: webhooks may lead to this machine and to private networks");
    }
}
