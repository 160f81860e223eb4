//! Signing in through other providers.

use url::Url;

use super::catalogue::section;
use super::kinds::{Flag, List, Word};
use super::server::Server;

section! {
    /// Signing in through other providers.
    pub struct OAuth {
        /// Where a sign-in through a provider may end: exact addresses, or prefixes ending in `/`; unset: the origins of
        /// BASE_URL and FRONTEND_URL.
        allowed_redirect_uris: Vec<RedirectRule> = "ALLOWED_REDIRECT_URIS", List(REDIRECT_RULE), "";
        /// Whether a verified address at a provider is enough to join an account whose own address was never verified.
        link_unverified_local: bool = "OAUTH_LINK_UNVERIFIED_LOCAL", Flag, "False";
    }
}

/// Addresses that a sign-in may end at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectRule {
    /// This one.
    Exactly(Url),
    /// Those of this origin whose path begins with this one's, which ends in `/`.
    Below(Url),
}

impl RedirectRule {
    fn allows(&self, target: &Url) -> bool {
        match self {
            Self::Exactly(url) => url == target,
            Self::Below(url) => url.origin() == target.origin() && target.path().starts_with(url.path()),
        }
    }
}

const REDIRECT_RULE: Word<RedirectRule> = Word {
    accepts: "an address such as https://example.com/signed-in, or a prefix such as https://example.com/",
    parse: |text| {
        let url = Url::parse(text).ok().filter(|url| is_target(url) && url.fragment().is_none())?;
        let is_prefix = text.ends_with('/') && url.query().is_none() && url.origin().is_tuple();
        Some(if is_prefix { RedirectRule::Below(url) } else { RedirectRule::Exactly(url) })
    },
};

/// Whether a browser may be sent there: the web, or an app by the scheme of its own (RFC 8252, 7.1), which has a dot.
fn is_target(url: &Url) -> bool {
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (is_web || url.scheme().contains('.')) && url.username().is_empty() && url.password().is_none()
}

impl OAuth {
    /// The address that `text` means, if a sign-in may end there: a path on this server, or an allowed address.
    #[must_use]
    pub fn redirect_target(&self, text: &str, server: &Server) -> Option<Url> {
        if text.len() > 2048 || text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return None;
        }
        if text.starts_with('/') {
            let here = server.base_url.join(text).ok()?;
            return (here.origin() == server.base_url.origin() && !text.starts_with("//")).then_some(here);
        }
        let target = Url::parse(text).ok().filter(is_target)?;
        let is_allowed = if self.allowed_redirect_uris.is_empty() {
            [&server.base_url, &server.frontend_url].iter().any(|own| own.origin() == target.origin())
        } else {
            self.allowed_redirect_uris.iter().any(|rule| rule.allows(&target))
        };
        is_allowed.then_some(target)
    }
}
