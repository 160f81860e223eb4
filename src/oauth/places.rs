//! Where somebody may be sent when they come back: decided when they leave, kept on our side, never asked again.

use url::Url;

use crate::platform::config::RedirectRule;
use crate::platform::web::is_own_path;

/// The longest address of a frontend that is looked at.
const LONGEST: usize = 2048;
/// What we add to an address: nobody else may have done so before.
const OURS: [&str; 4] = ["code", "error", "linked", "reauthenticated"];

/// Where somebody goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A page of this very server. Whoever goes on there is signed in by the cookie.
    Own(String),
    /// The application. It is given a code that it trades for tokens.
    App(Url),
}

impl Place {
    /// Reads what [`Place::as_str`] gave.
    #[must_use]
    pub(super) fn kept(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self::Own(text.to_owned()));
        }
        Url::parse(text).ok().map(Self::App)
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Own(path) => path,
            Self::App(url) => url.as_str(),
        }
    }

    /// The same with parameters more in its query.
    #[must_use]
    pub fn with(&self, parameters: &[(&str, &str)]) -> String {
        match self {
            Self::App(url) => {
                let mut url = url.clone();
                url.query_pairs_mut().extend_pairs(parameters);
                url.into()
            }
            Self::Own(path) if parameters.is_empty() => path.clone(),
            Self::Own(path) => {
                let more =
                    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
                format!("{path}{}{more}", if path.contains('?') { '&' } else { '?' })
            }
        }
    }
}

/// The places that may be gone back to.
#[derive(Clone, Debug)]
pub struct Places {
    allowed: Vec<RedirectRule>,
    usual: Place,
}

impl Places {
    /// The pages of this server, and what the operator allows. `usual` is where those go who say nothing.
    #[must_use]
    pub fn new(allowed: Vec<RedirectRule>, usual: Place) -> Self {
        Self { allowed, usual }
    }

    /// The place that somebody asks for; none if it is not allowed.
    ///
    /// What is judged is what the parser of browsers makes of it, and that is what is kept and gone back to.
    #[must_use]
    pub fn read(&self, asked: Option<&str>) -> Option<Place> {
        let Some(asked) = asked else { return Some(self.usual.clone()) };
        if is_own_path(asked) {
            return Some(Place::Own(asked.to_owned()));
        }
        self.app(asked).map(Place::App)
    }

    /// An address of the application, if it is allowed.
    #[must_use]
    pub fn app(&self, asked: &str) -> Option<Url> {
        let plain =
            asked.len() <= LONGEST && asked.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let url = Url::parse(asked).ok().filter(|_| plain)?;
        let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let is_bare = is_bare && !url.query_pairs().any(|(name, _)| OURS.contains(&&*name));
        (is_bare && self.allowed.iter().any(|rule| allows(rule, &url))).then_some(url)
    }
}

fn allows(rule: &RedirectRule, url: &Url) -> bool {
    match rule {
        RedirectRule::Exactly(exactly) => exactly == url,
        RedirectRule::Below(prefix) => {
            prefix.origin() == url.origin() && url.path().starts_with(prefix.path()) && !hides_steps(url)
        }
    }
}

/// Whether some server might read steps upwards in the path, where the parser sees none.
fn hides_steps(url: &Url) -> bool {
    let path = url.path().to_ascii_lowercase();
    path.contains("%2f") || path.contains("%5c") || path.contains("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let url = |text| Url::parse(text).unwrap();
        let allowed = vec![
            RedirectRule::Below(url("https://app.example.com/")),
            RedirectRule::Below(url("https://other.example.com/a/")),
            RedirectRule::Exactly(url("https://one.example.com/exact?x=1")),
            RedirectRule::Exactly(url("com.example.app:/signed-in")),
        ];
        Places::new(allowed, Place::Own("/account".to_owned()))
    }

    #[test]
    fn own_pages_and_what_is_allowed_are_gone_back_to() {
        for good in [
            "/account",
            "/account?tab=x",
            "https://app.example.com",
            "https://app.example.com/in?next=%2Fhome",
            "https://APP.example.com:443/in",
            "https://other.example.com/a/",
            "https://other.example.com/a/b",
            "https://one.example.com/exact?x=1",
            "com.example.app:/signed-in",
        ] {
            assert!(places().read(Some(good)).is_some(), "{good}");
        }
        assert_eq!(places().read(None), Some(Place::Own("/account".to_owned())));
    }

    //
    #[test]
    fn nothing_else_is() {
        for bad in [
            "",
            "//evil.test",
            "/\\evil.test",
            "https:evil.test",
            "https://evil.test",
            "https://evil.test/https://app.example.com/",
            "https://app.example.com@evil.test/",
            "https://app.example.com.evil.test/",
            "https://user:pw@app.example.com/",
            "https://app.example.com%00.evil.test/",
            "https://app.example.com/#access_token=x",
            "https://app.example.com/?code=x",
            "https://app.example.com:8443/",
            "http://app.example.com/",
            "https://app.example.com/\\evil",
            "https://app.example.com/\t",
            "https://other.example.com/",
            "https://other.example.com/a",
            "https://other.example.com/a/../b",
            "https://other.example.com/a/%2e%2e/b",
            "https://other.example.com/a/..%2fb",
            "https://other.example.com/ab",
            "https://one.example.com/exact",
            "https://one.example.com/exact?x=1&y=2",
            "https://one.example.com/exact/",
            "com.example.app:/other",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://evil。com/",
        ] {
            assert_eq!(places().read(Some(bad)), None, "{bad:?}");
        }
        assert_eq!(places().read(Some(&format!("https://app.example.com/{}", "a".repeat(8192)))), None);
    }

    #[test]
    fn what_is_added_stands_in_the_query_and_is_escaped() {
        let place = places().read(Some("https://app.example.com/in?a=b")).unwrap();
        assert_eq!(place.with(&[("code", "x&y")]), "https://app.example.com/in?a=b&code=x%26y");
        let place = Place::Own("/account".to_owned());
        assert_eq!(place.with(&[("error", "link_required")]), "/account?error=link_required");
        assert_eq!(place.with(&[]), "/account");
    }

    #[test]
    fn what_was_kept_is_the_same_place() {
        for text in ["/account?x=1", "https://app.example.com/in?a=b"] {
            let place = places().read(Some(text)).unwrap();
            assert_eq!(Place::kept(place.as_str()), Some(place));
        }
    }
}
