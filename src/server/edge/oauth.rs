//! What libraries of OAuth look for in a refusal: `error` and `error_description` (RFC 6749, 5.2).
//!
//! A table of refusals says `oauth "..."` where a line has a word of its own. Everything else that keeps such a request
//! from being answered, in the handler, in front of it, here or before it is a request, gets its word in this file: no
//! layer can forget it.

use std::sync::Arc;

use poem::http::{Method, StatusCode};
use serde_json::Value;

use crate::platform::problem::Problem;

/// Where such libraries ask: paths that they POST to.
#[derive(Clone, Debug, Default)]
pub struct OauthPlaces(Arc<[String]>);

impl OauthPlaces {
    /// Of an OpenAPI document the paths whose POST has one of these ids.
    #[must_use]
    pub fn of_document(document: &Value, ids: &[&str]) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let asked = paths.filter(|(_, item)| {
            let id = item["post"]["operationId"].as_str();
            id.is_some_and(|id| ids.contains(&id))
        });
        Self(asked.map(|(path, _)| path.clone()).collect())
    }

    /// Whether the request is for one of them.
    pub(in crate::server) fn hold(&self, method: &Method, path: &str) -> bool {
        let bare = path.strip_suffix('/').unwrap_or(path);
        *method == Method::POST && self.0.iter().any(|place| place == bare)
    }
}

/// The problem with both members, unless it says `error` already: `OTP-REQUIRED` stands there alone.
pub(in crate::server) fn told(problem: Problem) -> Problem {
    if problem.members.contains_key("error") {
        return problem;
    }
    let word = word_for(&problem);
    let mut problem = problem.with_oauth_error(word);
    // What staff wrote, such as the reason of a ban, may hold characters that a description must not have.
    if !problem.detail.chars().all(is_descriptive) {
        let words = problem.status.canonical_reason().unwrap_or("Error");
        problem.members.insert("error_description".to_owned(), words.into());
    }
    problem
}

/// RFC 6749 has no words for a server that can't or won't at the moment: those are of its 4.1.2.1.
fn word_for(problem: &Problem) -> &'static str {
    match (problem.status, problem.code) {
        (
            _,
            "invalid_credentials" | "user_inactive" | "email_not_verified" | "username_taken" | "email_taken",
        ) => "invalid_grant",
        (StatusCode::FORBIDDEN, _) => "access_denied",
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => "temporarily_unavailable",
        (status, _) if status.is_server_error() => "server_error",
        _ => "invalid_request",
    }
}

/// What RFC 6749, 5.2 lets a description consist of.
const fn is_descriptive(letter: char) -> bool {
    matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_come_from_the_document() {
        let document = serde_json::json!({"paths": {
            "/api/token": {"get": {"operationId": "look"}, "post": {"operationId": "trade"}},
            "/api/cats": {"post": {"operationId": "new_cat"}},
            "/api/dogs": {"get": {"operationId": "dogs"}},
        }});
        let places = OauthPlaces::of_document(&document, &["trade", "dogs"]);
        for path in ["/api/token", "/api/token/"] {
            assert!(places.hold(&Method::POST, path), "{path}");
            assert!(!places.hold(&Method::GET, path), "{path}");
        }
        for path in ["/api/cats", "/api/dogs", "/api/token/x", "/api/token//", "/token", "/"] {
            assert!(!places.hold(&Method::POST, path), "{path}");
        }
    }

    #[test]
    fn each_kind_of_refusal_has_its_word() {
        for (status, code, word) in [
            (400, "bad_request", "invalid_request"),
            (401, "token_invalid", "invalid_request"),
            (401, "invalid_credentials", "invalid_grant"),
            (403, "forbidden", "access_denied"),
            (403, "feature_disabled", "access_denied"),
            (403, "user_inactive", "invalid_grant"),
            (403, "email_not_verified", "invalid_grant"),
            (409, "username_taken", "invalid_grant"),
            (413, "payload_too_large", "invalid_request"),
            (415, "unsupported_media_type", "invalid_request"),
            (422, "validation_failed", "invalid_request"),
            (429, "rate_limited", "temporarily_unavailable"),
            (500, "internal", "server_error"),
            (503, "unavailable", "temporarily_unavailable"),
        ] {
            let problem = told(Problem::new(StatusCode::from_u16(status).unwrap(), code, "Words."));
            assert_eq!(problem.members["error"], word, "{status} {code}");
            assert_eq!(problem.members["error_description"], "Words.", "{status} {code}");
        }
    }

    #[test]
    fn a_word_that_is_there_stays_alone() {
        let mut asked = Problem::new(StatusCode::UNAUTHORIZED, "otp_required", "Words.");
        asked.members.insert("error".to_owned(), "OTP-REQUIRED".into());
        let members = asked.members.clone();
        assert_eq!(told(asked).members, members);
        let own = Problem::new(StatusCode::UNAUTHORIZED, "invalid_credentials", "Words.")
            .with_oauth_error("invalid_client");
        assert_eq!(told(own).members["error"], "invalid_client");
    }

    #[test]
    fn a_description_has_no_other_characters_than_it_may() {
        for (detail, description) in [
            ("Spam (twice), 'really'!", "Spam (twice), 'really'!"),
            ("He said \"no\".", "Forbidden"),
            ("Bad\\idea", "Forbidden"),
            ("zu spät", "Forbidden"),
            ("two\nlines", "Forbidden"),
        ] {
            let problem = told(Problem::new(StatusCode::FORBIDDEN, "user_inactive", detail));
            assert_eq!(problem.members["error_description"], description, "{detail}");
            assert_eq!(problem.detail, detail);
        }
    }
}
