//! Flags as they are written: in the file, in requests, in answers.

use std::collections::BTreeMap;
use std::fmt;

use poem_openapi::{Object, Union};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::flag::{Flag, Percentage, Rule};
use super::name::Name;
use crate::platform::problem::FieldError;
use crate::platform::web::Only;
use crate::sessions::Role;

/// Rules of one flag.
const MOST_RULES: usize = 32;

/// A flag: on or off for everybody, or a list of rules of which one must match.
#[derive(Clone, Debug, PartialEq, Serialize, Union)]
#[serde(untagged)]
pub enum FlagValue {
    /// On or off for everybody.
    Switch(bool),
    /// On for whoever a rule matches.
    Rules(Vec<FlagRule>),
}

/// Whom a flag is on for: users with one of the roles who fall in the percentage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Object)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[oai(rename_all = "camelCase")]
pub struct FlagRule {
    /// The part of all users, 0 to 1; all of them if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[oai(nullable, skip_serializing_if_is_none)]
    pub percentage_of_users: Option<f64>,
    /// The roles of which a user must have one; any user if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[oai(nullable, skip_serializing_if_is_none)]
    pub user_roles: Option<Vec<String>>,
}

/// Flags by their names.
pub type Written = BTreeMap<String, FlagValue>;

impl<'de> Deserialize<'de> for FlagValue {
    fn deserialize<D: Deserializer<'de>>(parser: D) -> Result<Self, D::Error> {
        parser.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = FlagValue;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("true, false or a list of rules")
    }

    fn visit_bool<E>(self, on: bool) -> Result<FlagValue, E> {
        Ok(FlagValue::Switch(on))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, rules: A) -> Result<FlagValue, A::Error> {
        let rules: Vec<Only<FlagRule>> = Vec::deserialize(SeqAccessDeserializer::new(rules))?;
        Ok(FlagValue::Rules(rules.into_iter().map(|Only(rule)| rule).collect()))
    }
}

/// Reads a name and its value; `within` says where they stand, for what is wrong with them.
pub(super) fn read(within: &str, name: &str, value: FlagValue) -> Result<(Name, Flag), FieldError> {
    let parsed = name.parse().map_err(|error| FieldError::new(within, format!("{error}")))?;
    let at = if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") };
    let flag = match value {
        FlagValue::Switch(true) => Flag::On,
        FlagValue::Switch(false) => Flag::Off,
        FlagValue::Rules(rules) if rules.len() > MOST_RULES => {
            return Err(FieldError::new(at, format!("has more than {MOST_RULES} rules")));
        }
        FlagValue::Rules(rules) => {
            let rules = rules.into_iter().enumerate();
            Flag::Rules(
                rules
                    .map(|(place, rule)| read_rule(&format!("{at}[{place}]"), rule))
                    .collect::<Result<_, _>>()?,
            )
        }
    };
    Ok((parsed, flag))
}

fn read_rule(at: &str, rule: FlagRule) -> Result<Rule, FieldError> {
    let out_of_range = || FieldError::new(format!("{at}.percentageOfUsers"), "must be a number from 0 to 1");
    let percentage = rule.percentage_of_users.map(|part| Percentage::new(part).ok_or_else(out_of_range));
    let roles = rule.user_roles.unwrap_or_default();
    let roles = roles.iter().map(|role| role.parse::<Role>()).collect::<Result<_, _>>();
    let roles = roles.map_err(|error| FieldError::new(format!("{at}.userRoles"), format!("{error}")))?;
    Ok(Rule { percentage: percentage.transpose()?, roles })
}

impl From<&Flag> for FlagValue {
    fn from(flag: &Flag) -> Self {
        match flag {
            Flag::On => Self::Switch(true),
            Flag::Off => Self::Switch(false),
            Flag::Rules(rules) => Self::Rules(rules.iter().map(FlagRule::from).collect()),
        }
    }
}

impl From<&Rule> for FlagRule {
    fn from(rule: &Rule) -> Self {
        let roles = || rule.roles.names().into_iter().map(str::to_owned).collect();
        Self {
            percentage_of_users: rule.percentage.map(Percentage::get),
            user_roles: (!rule.roles.is_empty()).then(roles),
        }
    }
}
