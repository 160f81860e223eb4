//! What may go wrong between leaving for a provider and being in, in words of ours: what a provider wrote is repeated
//! to nobody.

use crate::platform::problem::Refusal;

crate::refusals! {
    /// Why somebody who comes back from a provider is not in. The code goes back to the application as `error`.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum Trouble {
        Denied = 403 "access_denied" "You did not let the provider tell us who you are.",
        ProviderUnavailable = 503 "temporarily_unavailable" "The provider can't be reached right now. Please try again in a moment.",
        ProviderRefused = 401 "provider_error" "The provider did not tell us who you are. Please try again.",
        LinkRequired = 409 "link_required" "There is an account with your e-mail address. Sign in to it, and link the provider there.",
        Own = 409 "already_linked" "An account at this provider is linked to yours already.",
        Others = 409 "linked_elsewhere" "This account at the provider is linked to somebody else.",
        SignUpClosed = 403 "sign_up_closed" "Sign-up is closed. Ask an admin for an account.",
        Inactive = 403 "user_inactive" "The account may not be used.",
        SessionEnded = 401 "session_ended" "You are no longer signed in as who you were when you left. Sign in and try again.",
        NotYours = 401 "wrong_account" "This account at the provider is not the one that is linked to yours.",
        Conflict = 409 "conflict" "The account was deleted, and one of its names was taken since. Ask an admin.",
        Late = 503 "unavailable" "The server can't do this right now. Please try again in a moment.",
    }
}

impl Trouble {
    /// Its name, as the application is told it.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.problem().code
    }

    /// What is said of the trouble with this name.
    #[must_use]
    pub fn words_of(code: &str) -> Option<&'static str> {
        Self::table().into_iter().find(|entry| entry.code == code).map(|entry| entry.words)
    }
}
