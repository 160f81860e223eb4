//! An answer with one person, and the ETag to change them by.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaResponses, Registry};
use poem_openapi::types::Type;

use crate::platform::web::RawJson;

/// 200 with a person.
pub struct Profile<T> {
    /// The person as JSON.
    pub body: RawJson<T>,
    /// What `If-Match` wants.
    pub etag: HeaderValue,
}

/// 201 with a person who is new, and where they are.
pub struct CreatedProfile<T> {
    /// The person.
    pub profile: Profile<T>,
    /// Their address.
    pub location: String,
}

impl<T: Send> IntoResponse for Profile<T> {
    fn into_response(self) -> Response {
        let mut response = self.body.into_response();
        response.headers_mut().insert(header::ETAG, self.etag);
        response
    }
}

impl<T: Send> IntoResponse for CreatedProfile<T> {
    fn into_response(self) -> Response {
        let mut response = self.profile.into_response();
        response.set_status(StatusCode::CREATED);
        if let Ok(location) = HeaderValue::try_from(self.location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl<T: Type> ApiResponse for Profile<T> {
    fn meta() -> MetaResponses {
        documented::<T>(200, &[ETAG])
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type> ApiResponse for CreatedProfile<T> {
    fn meta() -> MetaResponses {
        documented::<T>(201, &[ETAG, ("Location", "Where the account is.")])
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

const ETAG: (&str, &str) =
    ("ETag", "Names this state of the account; `If-Match` refuses to change another one.");

fn documented<T: Type>(status: u16, headers: &[(&str, &str)]) -> MetaResponses {
    let mut meta = RawJson::<T>::meta();
    for response in &mut meta.responses {
        response.status = Some(status);
        response.headers = headers
            .iter()
            .map(|(name, description)| MetaHeader {
                name: (*name).to_owned(),
                description: Some((*description).to_owned()),
                required: true,
                deprecated: false,
                schema: String::schema_ref(),
            })
            .collect();
    }
    meta
}
