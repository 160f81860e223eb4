//! Pictures that are answered before the router: the usual size, by id, for whoever is not signed in, from memory.
//!
//! Pages show dozens of them at once, and ask for each again whenever they are looked at. Here nothing is refused: what is
//! special about a request, may not be seen or must be read or drawn first, goes to the operation, which decides about it.

use poem::http::header;
use poem::{IntoResponse, PathPattern, Request, Response};
use uuid::Uuid;

use super::pictures_api::{PictureApi, READ};
use crate::flags::{Flags, Name, flag_of};
use crate::users::store::Named;

/// Answers `GET /user/{uuid}/image` where that needs nobody to be waited for.
pub struct PicturesAtHand {
    api: PictureApi,
    flags: Flags,
    flag: Option<Name>,
    /// What the paths begin with.
    begins: String,
    /// How the router calls the operation's path, for log and measurements.
    pattern: PathPattern,
}

impl PicturesAtHand {
    /// What the paths end with.
    pub const ENDS: &'static str = "/image";

    /// Answers in the stead of these operations, which stand below `prefix`.
    #[must_use]
    pub fn new(api: PictureApi, flags: Flags, prefix: &str) -> Self {
        Self {
            api,
            flags,
            flag: flag_of(READ),
            begins: format!("{prefix}/user/"),
            pattern: PathPattern(format!("{prefix}/user/:param0{}", Self::ENDS).into()),
        }
    }

    /// The answer to a request without query and body, if it is at hand and the same whoever asks.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Option<Response> {
        let user = self.meant(request.uri().path())?;
        let headers = request.headers();
        let names_somebody =
            headers.contains_key(header::AUTHORIZATION) || headers.contains_key(header::COOKIE);
        if names_somebody || !self.is_open() {
            return None;
        }
        let mut response = self.api.at_hand(user, headers)?.into_response();
        response.set_data(self.pattern.clone());
        Some(response)
    }

    /// Whose picture, where an id says so.
    fn meant(&self, path: &str) -> Option<Uuid> {
        let segment = path.strip_prefix(self.begins.as_str())?.strip_suffix(Self::ENDS)?;
        match Named::in_path(segment)? {
            Named::Id(user) => Some(user),
            Named::Username(_) => None,
        }
    }

    /// Whether the operation's flag keeps nobody away.
    fn is_open(&self) -> bool {
        self.flag.as_ref().is_some_and(|flag| self.flags.lets_everybody(flag.as_str()))
    }
}
