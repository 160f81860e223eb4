//! The pages around the others: the root, signing out, the texts that a service needs, and where somebody goes back to.

use std::path::{Path, PathBuf};

use minijinja::value::Serde;
use minijinja::{Value, context};
use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoEndpoint, IntoResponse, Request, Response, Route};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{Inside, Language, back, foreign_form, read_form, see_other};
use crate::flags::{Flags, Name, flag_of};
use crate::oauth::Places;
use crate::platform::problem::Breakage;
use crate::platform::regular_file::read_at_most;
use crate::sessions::{Ending, Enrolling, SessionCookies, add_cookies};

/// The largest text of an operator, in bytes.
const LARGEST: usize = 256 * 1024;
/// The methods of a page that is only looked at.
const READ: &[Method] = &[Method::GET];
/// The methods of a page with a form.
const FORM: &[Method] = &[Method::GET, Method::POST];
/// The picture of the server.
const LOGO: &[u8] = include_bytes!("../../static/logo.png");

/// What the pages around the others are made of.
#[derive(Clone)]
pub struct FrontPages {
    /// The way in.
    pub inside: Inside,
    /// What is switched on.
    pub flags: Flags,
    /// The cookie that carries the session.
    pub cookies: SessionCookies,
    /// Where somebody may be sent.
    pub places: Places,
    /// Where the application has pages of its own, if it has.
    pub frontend: Option<url::Url>,
    /// Where the operator's texts lie.
    pub texts: PathBuf,
}

/// Which of the pages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Home,
    Logout,
    Text(Text),
    Missing,
    Logo,
    GoBack,
}

/// A text of the service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Terms,
    Privacy,
    Support,
}

const PATHS: [(&str, Page); 9] = [
    ("/", Page::Home),
    ("/logout", Page::Logout),
    ("/terms", Page::Text(Text::Terms)),
    ("/privacy", Page::Text(Text::Privacy)),
    ("/support", Page::Text(Text::Support)),
    ("/404", Page::Missing),
    ("/favicon.ico", Page::Logo),
    ("/logo.png", Page::Logo),
    ("/redirect_uri", Page::GoBack),
];

impl Page {
    const fn methods(self) -> &'static [Method] {
        match self {
            Self::Logout => FORM,
            _ => READ,
        }
    }
}

macro_rules! texts {
    ($name:literal) => {
        [
            include_str!(concat!("../../templates/page/text/en/", $name, ".txt")),
            include_str!(concat!("../../templates/page/text/de/", $name, ".txt")),
            include_str!(concat!("../../templates/page/text/fr/", $name, ".txt")),
        ]
    };
}

impl Text {
    const fn name(self) -> &'static str {
        match self {
            Self::Terms => "terms",
            Self::Privacy => "privacy",
            Self::Support => "support",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Terms => "frame.terms",
            Self::Privacy => "frame.privacy",
            Self::Support => "frame.support",
        }
    }

    const fn embedded(self, language: Language) -> &'static str {
        let [english, german, french] = match self {
            Self::Terms => texts!("terms"),
            Self::Privacy => texts!("privacy"),
            Self::Support => texts!("support"),
        };
        match language {
            Language::English => english,
            Language::German => german,
            Language::French => french,
        }
    }
}

#[derive(Deserialize)]
struct LogoutForm {
    csrf_token: String,
}

#[derive(Deserialize)]
struct GoBack {
    uri: String,
}

/// A heading, if there is one, and what stands below it.
#[derive(Default, Debug, PartialEq, Eq, Serialize)]
struct Part {
    heading: String,
    paragraphs: Vec<String>,
}

impl FrontPages {
    /// Puts the pages on the route, and `others` wherever nothing else is.
    #[must_use]
    pub fn on<E: IntoEndpoint<Endpoint: 'static>>(&self, route: Route, others: E) -> Route {
        let at = |page| FrontPage { front: self.clone(), page };
        let paths = PATHS.iter().filter(|(_, page)| *page != Page::Home);
        let route = paths.fold(route, |route, (path, page)| route.at(*path, at(*page)));
        route.nest("/", HomeOr { home: at(Page::Home), others: others.into_endpoint() })
    }

    /// The flags of the operations of S1 that are pages here.
    #[must_use]
    pub fn flags() -> Vec<Name> {
        flag_of("redirect_uri").into_iter().collect()
    }

    /// Every path with its methods.
    pub fn paths() -> impl Iterator<Item = (&'static str, &'static [Method])> {
        PATHS.iter().map(|(path, page)| (*path, page.methods()))
    }

    async fn home(&self, request: &Request) -> poem::Result<Response> {
        if let Some(place) = &self.frontend {
            return Ok(see_other(place.as_str()));
        }
        if Enrolling::of_any(request).await?.is_some() {
            return Ok(see_other("/account"));
        }
        Ok(self.inside.pages.of(request).page(StatusCode::OK, "home.html", context! {}))
    }

    async fn text(&self, text: Text, request: &Request) -> Response {
        if let Some(frontend) = &self.frontend {
            return see_other(below(frontend, text.name()).as_str());
        }
        let pages = self.inside.pages.of(request);
        let language = pages.reader().language;
        let written = match self.of_operator(text, language).await {
            Some(written) => parts(&written),
            None => parts(text.embedded(language)),
        };
        let shown = context! { title => pages.word(text.title()), parts => Value::from(Serde(written)) };
        pages.page(StatusCode::OK, "text.html", shown)
    }

    /// The operator's text in this language, else in whichever they wrote it.
    async fn of_operator(&self, text: Text, language: Language) -> Option<String> {
        for name in [format!("{}.{}.txt", text.name(), language.tag()), format!("{}.txt", text.name())] {
            let path = self.texts.join(name);
            match read_start(&path).await {
                Ok(bytes) if bytes.len() <= LARGEST => {
                    return Some(String::from_utf8_lossy(&bytes).into_owned());
                }
                Ok(_) => tracing::warn!(path = %path.display(), "this text is too long for a page"),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "this text can't be read"),
            }
        }
        None
    }

    async fn logout(&self, request: &mut Request) -> poem::Result<Response> {
        if *request.method() == Method::GET {
            return Ok(match self.inside.enter(request).await? {
                Ok(who) => who.pages.page(StatusCode::OK, "logout.html", context! {}),
                Err(_) => see_other("/signin"),
            });
        }
        let sessions = &self.inside.sessions;
        // Another site must not sign a visitor out, whose cookie it can't even send; a browser says where a form comes from.
        if sessions.is_same_origin(request.headers()) != Some(true) {
            return Err(foreign_form().into());
        }
        let form: Option<LogoutForm> = read_form(request).await?;
        let csrf_token = form.map(|form| form.csrf_token).unwrap_or_default();
        // What is in the cookie is looked at as for a page: the form has its token in a field, not in a header.
        request.set_method(Method::GET);
        if let Some(caller) = Enrolling::of_any(request).await? {
            if !sessions.is_csrf_token(caller.session_id, &csrf_token) {
                return Err(foreign_form().into());
            }
            let ended = sessions.end(caller.user_id, caller.session_id, Ending::Logout).await;
            ended.map_err(|error| Breakage::from(error).problem())?;
        }
        let mut response = see_other("/signin?done=signed_out");
        add_cookies(response.headers_mut(), self.cookies.clear());
        Ok(response)
    }

    /// On to the place, by the sign-in page if nobody is signed in.
    async fn go_back(&self, request: &Request) -> poem::Result<Response> {
        self.flags.require("REDIRECT_URI", request).await?;
        let asked = request.params::<GoBack>().ok();
        let Some(place) = asked.and_then(|asked| self.places.read(Some(&asked.uri))) else {
            let pages = self.inside.pages.of(request);
            return Ok(pages.message(StatusCode::BAD_REQUEST, "door.did_not_work", "back.not_allowed"));
        };
        if Enrolling::of_any(request).await?.is_some() {
            return Ok(see_other(place.as_str()));
        }
        let mut response = see_other("/signin");
        add_cookies(response.headers_mut(), back::keep(&place, self.cookies.secure));
        Ok(response)
    }
}

async fn read_start(path: &Path) -> std::io::Result<Vec<u8>> {
    let path = path.to_owned();
    // A byte more tells that it is too long.
    let read = spawn_blocking(move || read_at_most(&path, LARGEST as u64 + 1));
    read.await.map_err(std::io::Error::other)?
}

/// A page of this name below an address, which may have a path of its own.
fn below(address: &url::Url, name: &str) -> url::Url {
    let mut place = address.clone();
    if let Ok(mut path) = place.path_segments_mut() {
        path.pop_if_empty().push(name);
    }
    place
}

fn logo() -> Response {
    let mut response = Response::builder().content_type("image/png").body(LOGO);
    let for_a_day = HeaderValue::from_static("public, max-age=86400");
    response.headers_mut().insert(header::CACHE_CONTROL, for_a_day);
    response
}

/// Plain text as paragraphs with an empty line between; a line that begins with `# ` is a heading.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = vec![Part::default()];
    let mut paragraph = String::new();
    for line in text.lines().map(str::trim).chain([""]) {
        let heading = line.strip_prefix("# ");
        let ends = line.is_empty() || heading.is_some();
        if ends
            && !paragraph.is_empty()
            && let Some(part) = parts.last_mut()
        {
            part.paragraphs.push(std::mem::take(&mut paragraph));
        }
        match heading {
            Some(heading) => parts.push(Part { heading: heading.to_owned(), paragraphs: Vec::new() }),
            None if line.is_empty() => {}
            None => {
                if !paragraph.is_empty() {
                    paragraph.push(' ');
                }
                paragraph.push_str(line);
            }
        }
    }
    parts
}

struct FrontPage {
    front: FrontPages,
    page: Page,
}

impl Endpoint for FrontPage {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        if !self.page.methods().contains(request.method()) {
            return Err(MethodNotAllowedError.into());
        }
        match self.page {
            Page::Home => self.front.home(&request).await,
            Page::Logout => self.front.logout(&mut request).await,
            Page::Text(text) => Ok(self.front.text(text, &request).await),
            Page::Missing => Err(NotFoundError.into()),
            Page::Logo => Ok(logo()),
            Page::GoBack => self.front.go_back(&request).await,
        }
    }
}

/// The first page at the root itself: what is nested there is asked for it, too.
struct HomeOr<E> {
    home: FrontPage,
    others: E,
}

impl<E: Endpoint> Endpoint for HomeOr<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        if request.uri().path() == "/" {
            self.home.call(request).await
        } else {
            self.others.call(request).await.map(IntoResponse::into_response)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_text_is_a_file_and_nothing_that_has_to_be_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, file) = (folder.path().join("terms.txt"), folder.path().join("privacy.txt"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        std::fs::write(&file, "Ours.").unwrap();
        assert_eq!(read_start(&pipe).await.unwrap_err().to_string(), "it is not a regular file");
        assert!(read_start(folder.path()).await.is_err());
        assert_eq!(read_start(&file).await.unwrap(), b"Ours.");
    }

    #[test]
    fn a_text_is_paragraphs_below_headings() {
        let part = |heading: &str, paragraphs: &[&str]| Part {
            heading: heading.to_owned(),
            paragraphs: paragraphs.iter().map(ToString::to_string).collect(),
        };
        let text = "One\nline.\n\nTwo.\n# Three\r\nFour\n\n\n# Five";
        let expected = [part("", &["One line.", "Two."]), part("Three", &["Four"]), part("Five", &[])];
        assert_eq!(parts(text), expected);
    }
}
