//! What is counted of requests: how many, what they were answered, how long it took, and how many run now.
//!
//! Each route and method has counters of its own, made when it is first asked for and found without a lock from then on.
//! Labels are patterns of routes, methods and statuses that exist, never what a client wrote.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use poem::http::{Method, StatusCode};
use serde_json::Value;

use super::methods::nameless;
use crate::platform::telemetry::metrics::{Family, Histogram, Measure, Sample, number};

/// More routes than there are; beyond, they count as one.
const MOST: usize = 1024;
/// What stands for every route that is none.
const NONE: &str = "other";
/// How poem calls what follows the prefix of a nested route.
const REST: &str = "--poem-rest";
/// Methods that are counted by their names, and what stands for the others.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", NONE];
/// Statuses that are counted by themselves; others count as the first of their hundred.
const STATUSES: [u16; 34] = [
    100, 200, 201, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409,
    410, 411, 412, 413, 415, 416, 422, 428, 429, 500, 501, 503, 507,
];

/// The counters of all routes.
#[derive(Debug)]
pub struct Measured {
    /// What the document calls a path, by its pattern.
    templates: HashMap<String, String>,
    routes: ArcSwap<HashMap<Box<str>, Arc<Route>>>,
    /// Held by who adds a route.
    adding: Mutex<()>,
    in_flight: AtomicI64,
}

#[derive(Debug)]
struct Route {
    label: String,
    methods: [OnceLock<Box<Counts>>; METHODS.len()],
}

/// The counters of one method of a route.
#[derive(Debug)]
pub(super) struct Counts {
    statuses: [AtomicU64; STATUSES.len()],
    took: Histogram,
}

/// A request that runs, until it is dropped.
pub(super) struct InFlight<'m>(&'m AtomicI64);

impl Measured {
    /// Nothing counted yet; routes are called as in this OpenAPI document.
    #[must_use]
    pub fn new(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let templates = paths.map(|(path, _)| (nameless(path), path.clone())).collect();
        Self { templates, routes: ArcSwap::default(), adding: Mutex::default(), in_flight: AtomicI64::new(0) }
    }

    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    /// Counts an answer.
    pub(super) fn count(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let route = route.unwrap_or(NONE);
        let number = number_of(method);
        let routes = self.routes.load();
        match routes.get(route) {
            Some(known) => known.counts(number).count(status, took),
            None => self.add(route).counts(number).count(status, took),
        }
    }

    /// How a route is called in measurements and spans; none if it only leads on to others, of which none was meant.
    pub(super) fn label(&self, pattern: &str) -> Option<String> {
        if pattern.contains(REST) {
            return None;
        }
        Some(self.templates.get(&nameless(pattern)).cloned().unwrap_or_else(|| pattern.to_owned()))
    }

    fn add(&self, pattern: &str) -> Arc<Route> {
        let _turn = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = self.routes.load_full();
        let pattern = if routes.len() < MOST { pattern } else { NONE };
        if let Some(known) = routes.get(pattern) {
            return Arc::clone(known);
        }
        let label = self.label(pattern).unwrap_or_else(|| NONE.to_owned());
        // Several patterns may be one path of the document.
        let known = routes.values().find(|route| route.label == label).map(Arc::clone);
        let route = known.unwrap_or_else(|| Arc::new(Route { label, methods: Default::default() }));
        let mut more = (*routes).clone();
        more.insert(pattern.into(), Arc::clone(&route));
        self.routes.store(Arc::new(more));
        route
    }

    /// What was counted so far.
    #[must_use]
    pub fn measures(&self) -> Vec<Family> {
        let (mut answered, mut took) = (Vec::new(), Vec::new());
        let routes = self.routes.load();
        let mut routes: Vec<&Arc<Route>> = routes.values().collect();
        routes.sort_by(|one, other| one.label.cmp(&other.label));
        routes.dedup_by(|one, other| Arc::ptr_eq(one, other));
        for route in routes {
            for (method, counts) in METHODS.iter().zip(&route.methods) {
                let Some(counts) = counts.get() else { continue };
                let of = |more: Option<String>| -> Vec<(&'static str, String)> {
                    let own = [("route", route.label.clone()), ("method", (*method).to_owned())];
                    own.into_iter().chain(more.map(|status| ("status", status))).collect()
                };
                for (status, count) in STATUSES.iter().zip(&counts.statuses) {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        let measure = Measure::Number(number(count));
                        answered.push(Sample { labels: of(Some(status.to_string())), measure });
                    }
                }
                took.push(Sample { labels: of(None), measure: Measure::Spread(counts.took.read()) });
            }
        }
        let in_flight = u64::try_from(self.in_flight.load(Ordering::Relaxed)).unwrap_or(0);
        vec![
            Family::counter("gatehouse_http_requests_total", "Requests that were answered.", answered),
            Family::histogram(
                "gatehouse_http_request_duration_seconds",
                "From the request's head to the answer's head, in seconds.",
                took,
            ),
            Family::gauge(
                "gatehouse_http_requests_in_flight",
                "Requests that are being answered.",
                vec![Sample::plain(number(in_flight))],
            ),
        ]
    }
}

impl Route {
    fn counts(&self, method: usize) -> &Counts {
        self.methods[method].get_or_init(Box::default)
    }
}

impl Default for Counts {
    fn default() -> Self {
        let statuses = std::array::from_fn(|_| AtomicU64::new(0));
        Self { statuses, took: Histogram::new(Histogram::SECONDS) }
    }
}

impl Counts {
    fn count(&self, status: StatusCode, took: Duration) {
        self.statuses[place_of(status.as_u16())].fetch_add(1, Ordering::Relaxed);
        self.took.observe(took);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a method is called in measurements and spans: a client may make up any.
pub(super) fn method_name(method: &Method) -> &'static str {
    METHODS[number_of(method)]
}

fn number_of(method: &Method) -> usize {
    METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1)
}

fn place_of(status: u16) -> usize {
    let place = |status| STATUSES.binary_search(&status).ok();
    place(status).or_else(|| place(status / 100 * 100)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        Measured::new(&serde_json::json!({"paths": {"/api/user/{user}": {}, "/ping": {}}}))
    }

    fn values(measured: &Measured, family: &str) -> Vec<String> {
        let families = measured.measures();
        let family = families.iter().find(|known| known.name == family).unwrap();
        family.samples.iter().map(|sample| format!("{:?} {:?}", sample.labels, sample.measure)).collect()
    }

    #[test]
    fn each_route_method_and_status_is_counted_by_the_name_of_the_document() {
        let measured = measured();
        for status in [StatusCode::OK, StatusCode::OK, StatusCode::IM_A_TEAPOT] {
            measured.count(Some("/api/user/:param0"), &Method::GET, status, Duration::from_millis(3));
        }
        for none in [None, Some("/*--poem-rest")] {
            measured.count(none, &Method::TRACE, StatusCode::NOT_FOUND, Duration::ZERO);
        }
        let requests = values(&measured, "gatehouse_http_requests_total");
        assert_eq!(requests.len(), 3, "{requests:?}");
        assert!(requests[0].contains("/api/user/{user}") && requests[0].contains("\"200\")] Number(2.0)"));
        assert!(requests[1].contains("\"400\")] Number(1.0)"), "what is rare counts as its hundred");
        assert!(requests[2].contains("(\"route\", \"other\"), (\"method\", \"other\")"), "{}", requests[2]);
        assert_eq!(values(&measured, "gatehouse_http_request_duration_seconds").len(), 2);
    }

    #[test]
    fn nothing_is_lost_where_many_ask_at_once() {
        let measured = measured();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let measured = &measured;
                scope.spawn(move || {
                    for number in 0..2_000 {
                        let _running = measured.begin();
                        let route = format!("/made/{}", (number + thread) % 50);
                        measured.count(
                            Some(&route),
                            &Method::POST,
                            StatusCode::CREATED,
                            Duration::from_micros(1),
                        );
                    }
                });
            }
        });
        let requests = values(&measured, "gatehouse_http_requests_total");
        assert_eq!(requests.len(), 50);
        assert!(requests.iter().all(|line| line.ends_with("Number(320.0)")), "{requests:?}");
        assert_eq!(values(&measured, "gatehouse_http_requests_in_flight"), ["[] Number(0.0)"]);
    }

    #[test]
    fn there_is_an_end_to_routes() {
        let measured = measured();
        for number in 0..MOST * 2 {
            measured.count(Some(&format!("/x/{number}")), &Method::GET, StatusCode::OK, Duration::ZERO);
        }
        assert!(values(&measured, "gatehouse_http_requests_total").len() <= MOST + 1);
    }
}
