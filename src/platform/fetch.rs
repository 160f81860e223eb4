//! Downloading the pictures that somebody else's word leads to.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use url::Url;

use super::outgoing::{Answer, Bounds, Outgoing, Unanswered};

/// Why there is no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPicture {
    /// The host is none of those that may be asked.
    #[error("not from one of the hosts that have pictures")]
    OtherHost,
    /// There is no answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// The answer is something else, or the way to somewhere else.
    #[error("the answer is no picture")]
    NotOne,
}

/// The picture at `url`, if it is at one of `hosts`: a name, or a name's end that begins with a dot.
pub async fn picture(outgoing: &Outgoing, url: &Url, hosts: &[&str]) -> Result<Bytes, NoPicture> {
    if !is_at(url, hosts) {
        return Err(NoPicture::OtherHost);
    }
    download(outgoing, url).await
}

/// The picture at `url`, wherever that is: for addresses that nobody else named.
pub async fn download(outgoing: &Outgoing, url: &Url) -> Result<Bytes, NoPicture> {
    let request = outgoing.request(Method::GET, url.clone()).header(ACCEPT, "image/*").build();
    let request = request.map_err(|_| NoPicture::OtherHost)?;
    let answer = outgoing.ask(request, Bounds::PICTURE).await?;
    if answer.status == StatusCode::OK && is_image(&answer) {
        return Ok(answer.body.into());
    }
    Err(NoPicture::NotOne)
}

/// Whether the address is at one of these hosts.
#[must_use]
pub fn is_at(url: &Url, hosts: &[&str]) -> bool {
    let Some(name) = url.domain() else { return false };
    hosts.iter().any(|host| if host.starts_with('.') { name.ends_with(host) } else { name == *host })
}

fn is_image(answer: &Answer) -> bool {
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("image/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_whole_names_or_ends_of_names() {
        let hosts = ["avatars.githubusercontent.com", ".googleusercontent.com"];
        let at = |text: &str| is_at(&text.parse().unwrap_or_else(|_| panic!("{text}")), &hosts);
        for good in ["https://avatars.githubusercontent.com/u/1", "https://LH3.googleusercontent.com/a"] {
            assert!(at(good), "{good}");
        }
        for bad in [
            "https://evilgoogleusercontent.com/",
            "https://googleusercontent.com.evil.example/",
            "https://x.avatars.githubusercontent.com/",
            "https://avatars.githubusercontent.com.evil.example/",
            "https://avatars.githubusercontent.com@127.0.0.1/",
            "https://127.0.0.1/",
            "file:///etc/passwd",
        ] {
            assert!(!at(bad), "{bad}");
        }
    }
}
