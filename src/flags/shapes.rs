//! What the document says of flags beyond types.

use poem_openapi::types::Type;

use super::Source;
use super::api::{FlagExplained, FlagHistory};
use super::flag::Reason;
use super::name::LONGEST;
use super::ofrep::{Evaluation, EvaluationFailure};
use super::written::FlagRule;
use crate::platform::shape::{Shape, Shaped, Words};
use crate::sessions::Role;

/// What the document says of flags beyond types.
#[must_use]
pub fn shapes() -> Vec<Shaped> {
    let mut shapes = crate::shapes! {
        FlagExplained { reason: Shape::one_of(reasons()) }
        FlagHistory { source: Shape::one_of(sources()) }
        Evaluation { reason: Shape::one_of(reasons_of_openfeature()), variant: Shape::one_of(variants()) }
    };
    shapes.extend([
        Shaped::field(&FlagRule::name(), "userRoles", Shape::one_of(Role::words())),
        Shaped::field(&FlagRule::name(), "percentageOfUsers", Shape::part()),
        Shaped::field(&EvaluationFailure::name(), "errorCode", Shape::always("TARGETING_KEY_MISSING")),
        Shaped::parameter(&["evaluate_flag"], "key", Shape::text(LONGEST)),
    ]);
    shapes
}

/// Those that somebody who is signed in can be told.
fn reasons() -> Words {
    let told = [Reason::Switch, Reason::Rule(0), Reason::NoRule, Reason::Always, Reason::Admin];
    Words { name: "FlagReason", about: "What decided a flag.", all: told.map(Reason::name).to_vec() }
}

fn sources() -> Words {
    let all = [Source::Api, Source::File, Source::Start].map(Source::name).to_vec();
    Words { name: "FlagSource", about: "How a change of the flags came in.", all }
}

fn reasons_of_openfeature() -> Words {
    let all = vec!["STATIC", "TARGETING_MATCH", "SPLIT", "DEFAULT"];
    Words { name: "EvaluationReason", about: "What decided a flag, in the words of OpenFeature.", all }
}

fn variants() -> Words {
    Words { name: "FlagVariant", about: "How a flag is.", all: vec!["on", "off"] }
}
