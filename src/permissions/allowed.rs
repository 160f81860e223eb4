//! The permission in a handler's signature: whoever gets past it may do what it names.

use std::sync::Arc;

use poem::http::StatusCode;
use poem::{Request, RequestBody};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::{Action, Context, Explanation, Permissions, Resource, Subject};
use crate::platform::problem::Problem;
use crate::sessions::Caller;

/// What a handler needs the caller to be allowed to do, and to what. A unit type beside the handler, named in its
/// signature; without one the handler has no caller.
pub trait Permission: Send + Sync + 'static {
    /// The action that is decided on.
    const ACTION: Action;
    /// What it is done to.
    type On: Object;
}

/// Declares permissions for the signatures of handlers, each as `Name: Action on Object`.
#[macro_export]
macro_rules! permissions {
    ( $( $(#[$meta:meta])* $name:ident: $action:ident on $object:ty; )+ ) => {
        $(
            $(#[$meta])*
            pub struct $name;

            impl $crate::permissions::Permission for $name {
                const ACTION: $crate::permissions::Action = $crate::permissions::Action::$action;
                type On = $object;
            }
        )+
    };
}

/// What something is done to, found from the request before its body is read.
pub trait Object: Sized + Send + Sync {
    /// Who may not even do this is not told that the object exists: 404, as for one that doesn't.
    const SEEN_BY: Option<Action> = None;

    /// Finds the object that the request names, as the caller meets it.
    fn find(request: &Request, caller: &Caller) -> impl Future<Output = Result<Self, Problem>> + Send;

    /// What policies are shown of it.
    fn resource(&self) -> Resource<'_>;
}

/// Gatehouse itself: the object of actions that have no other.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Object for System {
    async fn find(_: &Request, _: &Caller) -> Result<Self, Problem> {
        Ok(Self)
    }

    fn resource(&self) -> Resource<'_> {
        Resource::System
    }
}

/// What decisions are made with.
pub struct Gate {
    /// The policies.
    pub permissions: Arc<Permissions>,
    /// Whether members may search one another (`USER_DIRECTORY=members`).
    pub directory_open: bool,
}

impl Gate {
    /// Whether the caller may do this.
    #[must_use]
    pub fn allows(
        &self,
        subject: &Subject,
        action: Action,
        resource: &Resource<'_>,
        context: Context,
    ) -> bool {
        let context = Context { directory_open: self.directory_open, ..context };
        self.permissions.decide(subject, action, resource, &context).is_allow()
    }

    /// Whether the caller may do this to Gatehouse itself.
    #[must_use]
    pub fn allows_on_system(&self, subject: &Subject, action: Action) -> bool {
        self.allows(subject, action, &Resource::System, Context::default())
    }

    /// The same with what led to it.
    #[must_use]
    pub fn explain(
        &self,
        subject: &Subject,
        action: Action,
        resource: &Resource<'_>,
        context: Context,
    ) -> Explanation {
        let context = Context { directory_open: self.directory_open, ..context };
        self.permissions.explain(subject, action, resource, &context)
    }
}

/// A caller who may do `P`, and what they may do it to.
pub struct Allowed<P: Permission> {
    /// Who.
    pub caller: Caller,
    /// To what.
    pub on: P::On,
    gate: Arc<Gate>,
}

impl<P: Permission> Allowed<P> {
    async fn of(request: &Request) -> Result<Self, Problem> {
        let caller = Caller::of(request).await?;
        let Some(gate) = request.data::<Arc<Gate>>() else { return Err(Problem::internal()) };
        let on = P::On::find(request, &caller).await?;
        let allowed = Self { caller, on, gate: Arc::clone(gate) };
        if allowed.may(P::ACTION, Context::default()) {
            return Ok(allowed);
        }
        let knows_it = P::On::SEEN_BY.is_none_or(|see| allowed.may(see, Context::default()));
        Err(if knows_it { forbidden() } else { not_found() })
    }

    /// Whether the caller may also do this to the same object.
    #[must_use]
    pub fn may(&self, action: Action, context: Context) -> bool {
        self.gate.allows(&Subject::from(&self.caller), action, &self.on.resource(), context)
    }

    /// The same later, about what the object has become: other requests go on while this one's body comes.
    pub fn later(&self) -> impl Fn(&Resource<'_>, Action, Context) -> bool + Send + 'static + use<P> {
        let (gate, subject) = (Arc::clone(&self.gate), Subject::from(&self.caller));
        move |resource: &Resource<'_>, action, context| gate.allows(&subject, action, resource, context)
    }

    /// 403 unless the caller may also do this to the same object.
    pub fn require(&self, action: Action, context: Context) -> Result<(), Problem> {
        if self.may(action, context) { Ok(()) } else { Err(forbidden()) }
    }
}

/// 403: signed in, but not allowed.
#[must_use]
pub fn forbidden() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "You may not do this.")
}

/// 404: not there, or not for you to know.
#[must_use]
pub fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here, or nothing for you.")
}

impl<'a, P: Permission> ApiExtractor<'a> for Allowed<P> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Caller as ApiExtractor<'_>>::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        <Caller as ApiExtractor<'_>>::security_schemes()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let allowed = Self::of(request).await?;
        allowed.caller.is_asked_again(request, body);
        Ok(allowed)
    }
}
