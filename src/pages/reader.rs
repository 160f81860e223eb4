//! Who looks at a page: in which language, at which address, and, on pages for those who are signed in, who they are.

use poem::Request;
use poem::http::header;
use serde::Deserialize;
use url::form_urlencoded;

use super::words::Language;
use crate::mail::Languages;
use crate::platform::web::is_own_path;
use crate::sessions::cookie;

/// The cookie of the language that somebody chose.
pub(super) const COOKIE: &str = "gatehouse-language";
/// The longest `Accept-Language` that is looked at.
const LONGEST: usize = 256;

/// Somebody who looks at a page.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// The language of the page.
    pub language: Language,
    /// Whether they chose it just now, so that it is to be kept.
    pub chose: bool,
    /// The page's path and query without the language, to come back to in another one.
    pub here: String,
    /// Who they are, where the page is for somebody who is signed in.
    pub person: Option<Person>,
}

/// Somebody who is signed in, as the frame of a page shows them.
#[derive(Clone, Debug)]
pub struct Person {
    /// The name that is shown.
    pub name: String,
    /// The account's id.
    pub uuid: String,
    /// What changes are sent with.
    pub csrf_token: String,
    /// Whether there is anything for them on the console.
    pub console: bool,
    /// The providers where they prove who they are, for want of a password.
    pub proofs: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    lang: String,
}

impl Reader {
    /// The reader of a request: the language of its query, of the cookie, of the account, of the browser.
    #[must_use]
    pub fn of(request: &Request, locale: Option<&str>) -> Self {
        let asked = Language::of_tag(&request.params::<Asked>().unwrap_or_default().lang);
        let kept = || cookie(request.headers(), COOKIE).and_then(Language::of_tag);
        let language =
            asked.or_else(kept).unwrap_or_else(|| Language::for_reader(&languages(request, locale)));
        Self { language, chose: asked.is_some(), here: here(request), person: None }
    }
}

fn languages(request: &Request, locale: Option<&str>) -> Languages {
    let accept = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let accept_language = accept.filter(|text| text.len() <= LONGEST).map(str::to_owned);
    Languages { locale: locale.map(str::to_owned), accept_language }
}

/// The address of the page on this server without its language; the root where it is none that a link may hold.
fn here(request: &Request) -> String {
    let uri = request.uri();
    let mut here = uri.path().to_owned();
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let kept = pairs.filter(|(name, _)| name != "lang");
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
    if !query.is_empty() {
        here.push('?');
        here.push_str(&query);
    }
    if is_own_path(&here) { here } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(uri: &str, headers: &[(&str, &str)], locale: Option<&str>) -> Reader {
        let mut request = Request::builder().uri(uri.parse().unwrap());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reader::of(&request.finish(), locale)
    }

    #[test]
    fn the_language_is_what_was_chosen_then_what_the_account_says_then_the_browser() {
        let accept = ("accept-language", "fr-CH, fr;q=0.9, en;q=0.8");
        let kept = ("cookie", "gatehouse-language=en");
        for (uri, headers, locale, language) in [
            ("/signin", &[][..], None, Language::English),
            ("/signin", &[accept], None, Language::French),
            ("/signin", &[accept], Some("de-AT"), Language::German),
            ("/signin", &[accept, kept], Some("de"), Language::English),
            ("/signin?lang=de", &[accept, kept], None, Language::German),
            ("/signin?lang=xx", &[accept], None, Language::French),
            ("/signin", &[("cookie", "gatehouse-language=\"><script>")], None, Language::English),
        ] {
            assert_eq!(reader(uri, headers, locale).language, language, "{uri} {headers:?} {locale:?}");
        }
    }

    #[test]
    fn a_link_to_another_language_leads_to_the_same_page_of_this_server() {
        for (uri, here) in [
            ("/verify?token=abc&lang=de", "/verify?token=abc"),
            ("/signin?lang=de", "/signin"),
            ("//evil.test", "/"),
            ("/.//evil.test", "/"),
            ("/signin?next=%22%3E%3Cscript%3E", "/signin?next=%22%3E%3Cscript%3E"),
        ] {
            assert_eq!(reader(uri, &[], None).here, here, "{uri}");
        }
    }
}
