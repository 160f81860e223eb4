//! What is served beside the operations of the OpenAPI document is written down here.
//!
//! An operation is in the document by being one. A page, a file or a form that is put on the routes by hand is in none,
//! so nothing that reads the document (the attacks, the table of who may do what) would ever ask for it.

use std::collections::BTreeSet;
use std::path::Path;

use super::{files_below, read};

/// Whoever adds one sees to it that it is guarded, tested, and known to its feature's list of paths and methods.
const PAGES: [&str; 44] = [
    "/",
    "/404",
    "/account",
    "/account/connections",
    "/account/data",
    "/account/security",
    "/assets/:hash/:name",
    "/console",
    "/console/audit",
    "/console/events",
    "/console/files",
    "/console/flags",
    "/console/health",
    "/console/mail",
    "/console/permissions",
    "/console/users",
    "/console/users/:user",
    "/console/webhooks",
    "/dev/inbox",
    "/dev/inbox.json",
    "/docs",
    "/favicon.ico",
    "/forgot-password/request",
    "/forgot-password/reset",
    "/interactive-docs",
    "/login",
    "/logo.png",
    "/logout",
    "/openapi.json",
    "/otp",
    "/privacy",
    "/redirect_uri",
    "/register",
    "/reset-password/request",
    "/reset-password/reset",
    "/setup",
    "/signin",
    "/signup",
    "/static/:hash/:name",
    "/support",
    "/terms",
    "/verify",
    "/verify/request",
    "{api_prefix}/docs",
];

//
#[test]
fn every_plain_route_is_a_known_page() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut served = BTreeSet::new();
    for file in files_below(&sources) {
        let place = file.strip_prefix(&sources).unwrap_or(&file);
        if place.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs"))) {
            continue;
        }
        let source = read(&file);
        let routes = routes(without_tests(&source));
        served.extend(routes.unwrap_or_else(|route| panic!("{}: what is {route}?", place.display())));
    }
    let known: BTreeSet<String> = PAGES.iter().map(ToString::to_string).collect();
    assert_eq!(known.len(), PAGES.len(), "a page is there twice");
    let new: Vec<_> = served.difference(&known).collect();
    assert!(new.is_empty(), "these are neither operations nor known pages: {new:?}");
    let gone: Vec<_> = known.difference(&served).collect();
    assert!(gone.is_empty(), "these are served no longer: {gone:?}");
}

/// The source down to the tests at its end, which serve routes of their own.
fn without_tests(source: &str) -> &str {
    source.split_once("#[cfg(test)]\nmod tests {").map_or(source, |(source, _)| source)
}

/// The paths that are put on a route: said where that is done, by a constant, or row by row in a table. The call, where
/// its path is said in no way that is known here.
fn routes(source: &str) -> Result<Vec<String>, &str> {
    let mut routes = Vec::new();
    for call in [".at(", ".nest("] {
        for (at, _) in source.match_indices(call) {
            let path = source[at + call.len()..].trim_start();
            // An address of a provider, and pages at another one.
            let is_route = !["self", "pages"].iter().any(|other| source[..at].trim_end().ends_with(other));
            if let Some(text) = path.strip_prefix('"').or_else(|| path.strip_prefix("format!(\"")) {
                routes.push(literal(text));
            } else if path.starts_with("*path,") {
                let table = source.split_once("const PATHS").and_then(|(_, after)| after.split_once("];"));
                routes.extend(literals(table.ok_or("*path")?.0, "(\""));
            } else if path.starts_with("place.path,") {
                routes.extend(literals(source, "path: \""));
            } else if let Some(text) = constant(source, path) {
                routes.push(literal(text));
            } else if is_route && !path.starts_with("&prefix, api)") {
                return Err(path.lines().next().unwrap_or_default());
            }
        }
    }
    Ok(routes)
}

/// What the constant holds that a call begins with.
fn constant<'a>(source: &'a str, call: &str) -> Option<&'a str> {
    let (name, _) = call.split_once(',')?;
    let is_constant = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let declared = format!("const {name}: &str = \"");
    source.split_once(&declared).filter(|_| is_constant).map(|(_, text)| text)
}

/// The texts that stand behind `before`.
fn literals(source: &str, before: &str) -> Vec<String> {
    source.match_indices(before).map(|(at, _)| literal(&source[at + before.len()..])).collect()
}

/// The text up to the quote that ends it.
fn literal(text: &str) -> String {
    text.split('"').next().unwrap_or_default().to_owned()
}

// --- the watchman is watched

#[test]
fn every_way_to_say_a_path_is_read() {
    let of = |source: &str| routes(source).map_err(str::to_owned);
    assert_eq!(
        of("route.at(\"/one\", page).at(\n    \"/two\", page)"),
        Ok(vec!["/one".into(), "/two".into()])
    );
    assert_eq!(of("route.at(format!(\"{prefix}/x\"), page)"), Ok(vec!["{prefix}/x".into()]));
    assert_eq!(of("const USER: &str = \"/user\";\nroute.at(USER, page)"), Ok(vec!["/user".into()]));
    let rows = "(\"/a\", Page::A),\n    (\"/b\", Page::B),\n";
    let table = format!("const PATHS: [(&str, Page); 2] = [\n    {rows}];\nlet no = (\"/c\", 1);\n");
    assert_eq!(of(&format!("{table}route.at(*path, page)")), Ok(vec!["/a".into(), "/b".into()]));
    assert_eq!(of("Place { path: \"/a\" }\nroute.at(place.path, page)"), Ok(vec!["/a".into()]));
    assert_eq!(of("route.nest(\"/below\", others)"), Ok(vec!["/below".into()]));
    assert_eq!(of("self.at(address)? self.pages.at(with_next(page, next))"), Ok(Vec::new()));
    assert_eq!(of("route.at(path_of(page), page)"), Err("path_of(page), page)".into()));
    assert_eq!(of("route.at(UNKNOWN, page)"), Err("UNKNOWN, page)".into()));
    assert_eq!(of("route.nest(&elsewhere, others)"), Err("&elsewhere, others)".into()));
}
