//! The forms that browsers send.

use poem::http::StatusCode;
use poem::{Request, RequestBody};
use serde::de::DeserializeOwned;

use crate::platform::problem::Problem;
use crate::platform::web::read_body;

/// The fields of a form; none if they are not those of this one.
pub(super) async fn read_form<T: DeserializeOwned>(request: &mut Request) -> poem::Result<Option<T>> {
    let mut body = RequestBody::new(request.take_body());
    let text = read_body(request, &mut body).await?;
    Ok(serde_urlencoded::from_bytes(&text).ok())
}

/// 403: another site has sent it.
#[must_use]
pub(super) fn foreign_form() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "This form was not sent by one of our pages.")
}
