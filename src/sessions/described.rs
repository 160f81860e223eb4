//! What the OpenAPI document says of how callers are known.

use std::marker::PhantomData;

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

/// The ways in which people are known.
pub(super) const OF_PEOPLE: [&str; 2] = ["bearer", "cookie"];

/// Describes the ways to be known.
pub(super) fn register(registry: &mut Registry) {
    let scheme = |ty, description, name, key_in, scheme, bearer_format| MetaSecurityScheme {
        ty,
        description: Some(description),
        name,
        key_in,
        scheme,
        bearer_format,
        flows: None,
        openid_connect_url: None,
    };
    let bearer = "An access token, from signing in.";
    registry
        .create_security_scheme("bearer", scheme("http", bearer, None, None, Some("bearer"), Some("JWT")));
    let cookie = "The session of the built-in pages; changes need the header X-CSRF-Token as well.";
    registry.create_security_scheme(
        "cookie",
        scheme("apiKey", cookie, Some("gatehouse"), Some("cookie"), None, None),
    );
    let basic = "The name and the secret of a service of `SERVICE_CLIENTS`.";
    registry.create_security_scheme("basic", scheme("http", basic, None, None, Some("basic"), None));
}

/// In which ways an operation knows who asks.
pub trait Ways {
    /// Their names in the document.
    const NAMES: &'static [&'static str];
    /// Whether nobody may ask as well.
    const OR_NOBODY: bool;
}

/// Whoever is signed in, or nobody.
pub struct Anybody;

impl Ways for Anybody {
    const NAMES: &'static [&'static str] = &OF_PEOPLE;
    const OR_NOBODY: bool = true;
}

/// Whoever is signed in, or was until their access token's time was over. Not by the cookie: one that is worth nothing any
/// more is taken away as well, so it proves nothing.
pub struct Leaver;

impl Ways for Leaver {
    const NAMES: &'static [&'static str] = &[OF_PEOPLE[0]];
    const OR_NOBODY: bool = false;
}

/// Another service, or somebody who is signed in.
pub struct Service;

impl Ways for Service {
    const NAMES: &'static [&'static str] = &["basic", OF_PEOPLE[0], OF_PEOPLE[1]];
    const OR_NOBODY: bool = false;
}

/// For an operation that finds out by itself who asks, other than by a [`Caller`](super::Caller): says so in the document,
/// and looks at nothing.
pub struct Described<W: Ways>(PhantomData<fn() -> W>);

impl<'a, W: Ways> ApiExtractor<'a> for Described<W> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        W::NAMES.to_vec()
    }

    fn has_security_fallback() -> bool {
        W::OR_NOBODY
    }

    async fn from_request(
        _request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(PhantomData))
    }
}
