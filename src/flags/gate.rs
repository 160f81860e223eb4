//! The gate before every operation: its flag is asked before its handler, and so before anything the handler asks.
//!
//! [`Flagged`] stands around the operations of an API and puts the gate before each of them when the routes are made. So
//! there is no second matching of paths that could see another operation than the router does, and no operation can be
//! forgotten.

use std::collections::HashMap;

use poem::endpoint::{BoxEndpoint, EndpointExt};
use poem::http::{Method, StatusCode};
use poem::{Endpoint, Request, Response};
use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaApi, Registry};

use super::Flags;
use super::flag::{Person, Reason};
use super::name::Name;
use super::operations::{flag_of, is_gated};
use crate::platform::problem::Problem;
use crate::sessions::Enrolling;

/// Operations, each behind its flag.
pub struct Flagged<T> {
    /// The operations.
    pub api: T,
    /// The flags.
    pub flags: Flags,
}

type Routes = HashMap<String, HashMap<Method, BoxEndpoint<'static>>>;

impl<T: OpenApi> OpenApi for Flagged<T> {
    fn meta() -> Vec<MetaApi> {
        T::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, routes: &mut Routes) {
        let flags = flags_by_place::<T>();
        let mut open = Routes::new();
        self.api.add_routes(&mut open);
        for (path, endpoints) in open {
            let place = nameless(&path);
            let gated = endpoints.into_iter().map(|(method, endpoint)| {
                let flag = flags.get(&(place.clone(), method.clone()));
                let gated = match flag {
                    Some(flag) => {
                        let (flags, flag) = (self.flags.clone(), flag.clone());
                        Gated { flags, flag, endpoint }.boxed()
                    }
                    None => endpoint,
                };
                (method, gated)
            });
            let gated: Vec<_> = gated.collect();
            routes.entry(path).or_default().extend(gated);
        }
    }
}

/// The flag of each operation that has one, by path and method.
fn flags_by_place<T: OpenApi>() -> HashMap<(String, Method), Name> {
    let paths = T::meta().into_iter().flat_map(|api| api.paths);
    let operations = paths.flat_map(|path| {
        let place = nameless(&path.path);
        path.operations.into_iter().map(move |operation| (place.clone(), operation))
    });
    let gated = operations.filter_map(|(place, operation)| {
        let id = operation.operation_id.filter(|id| is_gated(id))?;
        Some(((place, operation.method), flag_of(id)?))
    });
    gated.collect()
}

/// `/user/:param0` of the router and `/user/{user}` of the document are one path.
fn nameless(path: &str) -> String {
    let segments = path.trim_end_matches('/').split('/');
    let named = segments.map(|segment| if segment.starts_with([':', '{']) { "*" } else { segment });
    named.collect::<Vec<_>>().join("/")
}

struct Gated {
    flags: Flags,
    flag: Name,
    endpoint: BoxEndpoint<'static>,
}

impl Endpoint for Gated {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        self.flags.require(self.flag.as_str(), &request).await?;
        self.endpoint.call(request).await
    }
}

impl Flags {
    /// Refused unless the flag is on for whoever asks. Who that is matters only to a flag with rules.
    pub async fn require(&self, flag: &str, request: &Request) -> Result<(), Problem> {
        if !self.are_enforced() {
            return Ok(());
        }
        let decision = self.decide(flag, None);
        if decision.on {
            return Ok(());
        }
        if decision.reason != Reason::NeedsPerson {
            return Err(switched_off());
        }
        // Also who still has to set up a second factor: the handler decides what they may do.
        let caller = Enrolling::of(request).await?;
        if self.decide(flag, Some(&Person::from(&*caller))).on { Ok(()) } else { Err(switched_off()) }
    }

    /// Whether the flag is there and on, whoever asks. Otherwise [`Self::require`] has to be asked.
    #[must_use]
    pub fn lets_everybody(&self, flag: &str) -> bool {
        if !self.are_enforced() {
            return true;
        }
        let decision = self.decide(flag, None);
        decision.on && decision.reason != Reason::Unlisted
    }
}

/// 403: the operation is switched off, for everybody or for this caller.
#[must_use]
pub fn switched_off() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "feature_disabled", "This is switched off at the moment.")
}

#[cfg(test)]
mod tests {
    use super::nameless;

    #[test]
    fn a_path_is_the_same_however_its_parameters_are_named() {
        assert_eq!(nameless("/user/:param0/file"), nameless("/user/{user}/file/"));
        assert_ne!(nameless("/user/me"), nameless("/user/{user}"));
    }
}
