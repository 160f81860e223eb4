//! Where somebody wants to go back to after signing in (S1's `redirect_uri`): kept in a cookie, and read as strictly as
//! if it were asked for again.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::Request;
use poem::http::HeaderValue;

use crate::oauth::{Place, Places};
use crate::sessions::{cookie, set_cookie};

const COOKIE: &str = "gatehouse-back";
/// How long somebody may take to sign in.
const LASTS: Duration = Duration::from_mins(30);

/// The cookie that keeps a place. It stays below what browsers take, for places are bounded.
#[must_use]
pub fn keep(place: &Place, secure: bool) -> Option<HeaderValue> {
    set_cookie(COOKIE, &URL_SAFE_NO_PAD.encode(place.as_str()), LASTS, secure)
}

/// The cookie that takes it away.
#[must_use]
pub fn forget(secure: bool) -> Option<HeaderValue> {
    set_cookie(COOKIE, "", Duration::ZERO, secure)
}

/// The place that a request's cookie keeps, if it may still be gone to.
#[must_use]
pub fn kept(request: &Request, places: &Places) -> Option<Place> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie(request.headers(), COOKIE)?).ok()?;
    places.read(Some(std::str::from_utf8(&bytes).ok()?))
}
