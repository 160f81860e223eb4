//! The cookies of the server: how they are written and read (RFC 6265bis).

use std::time::Duration;

use poem::http::{HeaderMap, HeaderValue, header};

/// How the session cookie of the built-in pages is set and cleared.
#[derive(Clone, Debug)]
pub struct SessionCookies {
    /// `__Host-gatehouse` where clients come by https, else `gatehouse`.
    pub name: &'static str,
    /// Whether the cookie is sent over https only.
    pub secure: bool,
    /// How long the session may last.
    pub lasts: Duration,
}

impl SessionCookies {
    /// Whether the request has one, whatever it is worth.
    #[must_use]
    pub fn is_sent(&self, headers: &HeaderMap) -> bool {
        cookie(headers, self.name).is_some()
    }

    /// `Set-Cookie` of a new session.
    #[must_use]
    pub fn set(&self, value: &str) -> Option<HeaderValue> {
        set_cookie(self.name, value, self.lasts, self.secure)
    }

    /// `Set-Cookie` that ends it in the browser.
    #[must_use]
    pub fn clear(&self) -> Option<HeaderValue> {
        set_cookie(self.name, "", Duration::ZERO, self.secure)
    }
}

/// A cookie for this host alone that scripts can't read and other sites can't send along with changes. Its value
/// can't be printed by accident: the header is marked sensitive.
pub(crate) fn set_cookie(name: &str, value: &str, lasts: Duration, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let seconds = lasts.as_secs();
    let text = format!("{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}");
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Has the browser keep these cookies.
pub(crate) fn add_cookies(headers: &mut HeaderMap, cookies: impl IntoIterator<Item = HeaderValue>) {
    headers.extend(cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)));
}

/// The value of the one cookie of this name; of two with the same name, neither counts.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(present, _)| *present == name)
        .map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_given_twice_counts_as_none() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "a=1; gatehouse=x; b=2".parse().unwrap());
        assert_eq!(cookie(&headers, "gatehouse"), Some("x"));
        headers.append(header::COOKIE, "gatehouse=y".parse().unwrap());
        assert_eq!(cookie(&headers, "gatehouse"), None);
    }

    #[test]
    fn over_https_the_cookie_is_bound_to_the_host() {
        let cookies =
            SessionCookies { name: "__Host-gatehouse", secure: true, lasts: Duration::from_mins(1) };
        let set = cookies.set("v").unwrap();
        let text = "__Host-gatehouse=v; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(set, text);
        assert_eq!(format!("{set:?}"), "Sensitive");
    }
}
