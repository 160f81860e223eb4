//! Which methods a path has: for `Allow` (RFC 9110, 10.2.1), which the router doesn't tell.

use std::collections::HashMap;

use poem::Response;
use poem::http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::asked::Asked;
use super::refusal;
use crate::pages::Pages;
use crate::platform::problem::Problem;

/// Methods by path, parameters left out of the count.
#[derive(Clone, Debug, Default)]
pub struct Methods(HashMap<String, Vec<String>>);

impl Methods {
    /// The operations of an OpenAPI document whose paths stand below `prefix`.
    #[must_use]
    pub fn of_document(document: &Value, prefix: &str) -> Self {
        let mut methods = Self::default();
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            for method in operations.as_object().into_iter().flatten().map(|(method, _)| method) {
                methods.insert(&format!("{prefix}{path}"), &method.to_uppercase());
            }
        }
        methods
    }

    /// These and one path more.
    #[must_use]
    pub fn and(mut self, path: &str, methods: &[Method]) -> Self {
        for method in methods {
            self.insert(path, method.as_str());
        }
        self
    }

    fn insert(&mut self, path: &str, method: &str) {
        let known = self.0.entry(nameless(path)).or_default();
        if !known.iter().any(|present| present == method) {
            known.push(method.to_owned());
        }
    }

    fn allow(&self, route: Option<&str>) -> HeaderValue {
        let known = route.and_then(|route| self.0.get(&nameless(route)));
        // What is in no document is a page.
        let Some(known) = known else { return HeaderValue::from_static("GET, HEAD, OPTIONS") };
        let mut methods: Vec<&str> = known.iter().map(String::as_str).collect();
        if methods.contains(&"GET") && !methods.contains(&"HEAD") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        HeaderValue::try_from(methods.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
    }

    /// The answer to a method that the path doesn't have: 405, or for OPTIONS what it has.
    pub(super) fn answer(
        &self,
        problem: Problem,
        route: Option<&str>,
        asked: &Asked,
        pages: &Pages,
    ) -> Response {
        if problem.headers.iter().any(|(name, _)| name == header::ALLOW) {
            return refusal::written(problem, asked, pages);
        }
        let allow = self.allow(route);
        if asked.method == Method::OPTIONS {
            return Response::builder().status(StatusCode::NO_CONTENT).header(header::ALLOW, allow).finish();
        }
        refusal::written(problem.with_header(header::ALLOW, allow), asked, pages)
    }
}

/// `/user/:param0` and `/user/{uuid}` are one path: `/user/*`.
pub(super) fn nameless(path: &str) -> String {
    let segments = path.trim_end_matches('/').split('/');
    let named = segments.map(|segment| if segment.starts_with([':', '{']) { "*" } else { segment });
    named.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_of_a_path_come_from_the_document() {
        let document = serde_json::json!({"paths": {
            "/user/{user}": {"get": {}, "patch": {}, "delete": {}},
            "/auth/login": {"post": {}},
        }});
        let methods = Methods::of_document(&document, "/api").and("/form", &[Method::GET, Method::POST]);
        assert_eq!(methods.allow(Some("/api/user/:param0")), "GET, PATCH, DELETE, HEAD, OPTIONS");
        assert_eq!(methods.allow(Some("/api/auth/login")), "POST, OPTIONS");
        assert_eq!(methods.allow(Some("/form")), "GET, POST, HEAD, OPTIONS");
        assert_eq!(methods.allow(Some("/elsewhere")), "GET, HEAD, OPTIONS");
        assert_eq!(methods.allow(None), "GET, HEAD, OPTIONS");
    }
}
