//! What stands in the path of a request.

use poem::Request;

/// What poem-openapi calls the first parameter of a path, whatever it is named in the document.
const FIRST: &str = "param0";

/// The first parameter of the path of an operation.
#[must_use]
pub fn first_parameter(request: &Request) -> Option<&str> {
    request.raw_path_param(FIRST)
}
