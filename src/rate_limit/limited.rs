//! The limit in a handler's signature: whoever gets past it has not done this too often.

use std::marker::PhantomData;
use std::sync::Arc;

use poem::{FromRequest, Request, RequestBody};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::Limits;
use crate::platform::config::{Quota, Throttles};
use crate::platform::problem::Problem;
use crate::platform::web::ClientInfo;

/// Stands in the document among what an operation needs, until `server::documentation` has put the refusal in its place.
pub const MARK: &str = "rate limit";

/// What clients may do so often and no more. A unit type, named in a handler's signature.
pub trait Limit: Send + Sync + 'static {
    /// What clients, and Redis, know it by.
    const NAME: &'static str;

    /// How often, by the settings.
    fn quota(throttles: &Throttles) -> Quota;
}

/// Sending a file or a picture.
#[derive(Clone, Copy, Debug)]
pub struct Uploads;

impl Limit for Uploads {
    const NAME: &'static str = "uploads";

    fn quota(throttles: &Throttles) -> Quota {
        throttles.upload
    }
}

/// Beginning to sign in through another provider.
#[derive(Clone, Copy, Debug)]
pub struct OauthStarts;

impl Limit for OauthStarts {
    const NAME: &'static str = "oauth";

    fn quota(throttles: &Throttles) -> Quota {
        throttles.oauth
    }
}

/// A client that has not done `L` too often. It stands behind the permission and before the body in a handler's
/// signature: only what would be done is counted, and nothing is read of what would be refused.
pub struct RateLimited<L: Limit>(PhantomData<fn() -> L>);

impl<'a, L: Limit> ApiExtractor<'a> for RateLimited<L> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn security_schemes() -> Vec<&'static str> {
        vec![MARK]
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let client = <ClientInfo as FromRequest>::from_request(request, body).await?;
        let Some(limits) = request.data::<Arc<Limits>>() else { return Err(Problem::internal().into()) };
        limits.meter::<L>().count(client.ip).await.standing().refusal()?;
        Ok(Self(PhantomData))
    }
}
