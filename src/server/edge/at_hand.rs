//! Answers that a feature has at hand: given before the router, because nothing has to be waited for.
//!
//! Whoever finds one has decided all that the operation behind the router would decide, and gives the same answer. Whatever
//! is special about a request goes to that operation; nothing is refused here. What the edge does for every request, it
//! does for these, too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use poem::{Request, Response};

use super::guard;
use super::noticed::Noticed;

type Find = Box<dyn Fn(&Request) -> Option<Response> + Send + Sync>;

/// Who finds them, for paths that end alike.
pub(super) struct AtHand {
    ends: &'static str,
    find: Find,
}

impl std::fmt::Debug for AtHand {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("AtHand").field(&self.ends).finish()
    }
}

impl AtHand {
    pub(super) fn new(ends: &'static str, find: Find) -> Self {
        Self { ends, find }
    }

    /// The answer, if there is one. A panic is none: then the handler answers.
    pub(super) fn answer(&self, request: &Request, noticed: Noticed) -> Option<Response> {
        if !request.uri().path().ends_with(self.ends) || !guard::asks_plainly(request, noticed) {
            return None;
        }
        catch_unwind(AssertUnwindSafe(|| (self.find)(request))).ok().flatten()
    }
}
