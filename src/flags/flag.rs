//! A flag, and how it is for somebody: pure decisions.

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::name::Name;
use crate::platform::secrets::digest;
use crate::sessions::{Caller, Role, Roles};

/// A flag's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Flag {
    /// On for everybody.
    On,
    /// Off for everybody.
    Off,
    /// On for whoever one of the rules matches. Nobody in particular is matched by none.
    Rules(Vec<Rule>),
}

/// Whom a flag is on for: those with one of the roles who fall in the percentage.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The part of all users; all of them if not given.
    pub percentage: Option<Percentage>,
    /// The roles of which one must be had; none are asked for if empty.
    pub roles: Roles,
}

/// A part of all users: 0 for none to 1 for all.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percentage(f64);

/// Somebody for whom a flag is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    /// Their account.
    pub id: Uuid,
    /// Their roles.
    pub roles: Roles,
}

/// How a flag is for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is on.
    pub on: bool,
    /// What decided.
    pub reason: Reason,
}

/// What decided how a flag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is on, or off, for everybody.
    Switch,
    /// The rule at this place matches.
    Rule(usize),
    /// None of its rules matches.
    NoRule,
    /// It depends on who asks, and nobody in particular does.
    NeedsPerson,
    /// There is no such flag.
    Unlisted,
    /// It belongs to an operation that can't be switched off.
    Always,
    /// It belongs to an operation that can't be switched off for admins.
    Admin,
}

impl Reason {
    /// Its name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Rule(_) => "rule",
            Self::NoRule => "no_rule",
            Self::NeedsPerson => "needs_person",
            Self::Unlisted => "unlisted",
            Self::Always => "always",
            Self::Admin => "admin",
        }
    }
}

/// Whom the flag of an operation can't keep away, whatever its value: without it, nobody could undo what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shelter {
    /// Nobody: the flag decides.
    #[default]
    None,
    /// Admins.
    Admins,
    /// Everybody.
    All,
}

impl Percentage {
    /// Any number from 0 to 1.
    #[must_use]
    pub fn new(part: f64) -> Option<Self> {
        (0.0..=1.0).contains(&part).then_some(Self(part))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether a user falls in it, by their place among all users of this flag.
    fn has(self, place: u32) -> bool {
        f64::from(place) / f64::from(u32::MAX) < self.0
    }
}

impl From<&Caller> for Person {
    fn from(caller: &Caller) -> Self {
        Self { id: caller.user_id, roles: caller.roles }
    }
}

impl Flag {
    /// How the flag of this name is for somebody, or for nobody in particular.
    #[must_use]
    pub fn decide(&self, name: &Name, shelter: Shelter, who: Option<&Person>) -> Decision {
        match (self, shelter, who) {
            (Self::On, ..) => Decision { on: true, reason: Reason::Switch },
            (_, Shelter::All, _) => Decision { on: true, reason: Reason::Always },
            (_, Shelter::Admins, Some(who)) if who.roles.has(Role::Admin) => {
                Decision { on: true, reason: Reason::Admin }
            }
            (_, Shelter::Admins, None) | (Self::Rules(_), _, None) => {
                Decision { on: false, reason: Reason::NeedsPerson }
            }
            (Self::Off, ..) => Decision { on: false, reason: Reason::Switch },
            (Self::Rules(rules), _, Some(who)) => first_match(rules, name, who),
        }
    }
}

fn first_match(rules: &[Rule], name: &Name, who: &Person) -> Decision {
    let mut place = None;
    let matches = |rule: &Rule| {
        let role = rule.roles.is_empty() || rule.roles.iter().any(|role| who.roles.has(role));
        let mut falls_in =
            |part: Percentage| part.has(*place.get_or_insert_with(|| place_of(name.as_str(), who.id)));
        role && rule.percentage.is_none_or(&mut falls_in)
    };
    match rules.iter().position(matches) {
        Some(rule) => Decision { on: true, reason: Reason::Rule(rule) },
        None => Decision { on: false, reason: Reason::NoRule },
    }
}

/// A user's place among all users of a flag: the first 8 hexadecimal digits of SHA-256 of `<flag>-<uuid>`. S1 counts
/// the same way, so everybody keeps their side of a test.
fn place_of(flag: &str, user: Uuid) -> u32 {
    let mut text = Vec::with_capacity(flag.len() + 1 + Hyphenated::LENGTH);
    text.extend_from_slice(flag.as_bytes());
    text.push(b'-');
    text.extend_from_slice(user.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    digest(&text).iter().take(4).fold(0, |place, byte| (place << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn person(id: &str, roles: &[Role]) -> Person {
        Person { id: id.parse().unwrap(), roles: roles.iter().copied().collect() }
    }

    const ANN: &str = "0190a5c0-7e3b-7c2a-8f00-1234567890ab";

    /// Made with Python: `int(hashlib.sha256(f"{flag}-{uuid}".encode()).hexdigest()[:8], 16)`.
    #[test]
    fn places_are_those_that_python_computes() {
        for (flag, user, place) in VECTORS {
            assert_eq!(place_of(flag, user.parse().unwrap()), place, "{flag} {user}");
        }
    }

    #[rustfmt::skip]
    const VECTORS: [(&str, &str, u32); 16] = [
        ("READ_USERS_ME", "0190a5c0-7e3b-7c2a-8f00-1234567890ab", 3_113_500_834),
        ("READ_USERS_ME", "00000000-0000-0000-0000-000000000000", 3_516_044_789),
        ("READ_USERS_ME", "ffffffff-ffff-ffff-ffff-ffffffffffff", 2_881_045_849),
        ("READ_USERS_ME", "6fa459ea-ee8a-3ca4-894e-db77e160355e", 2_269_355_729),
        ("_PING", "0190a5c0-7e3b-7c2a-8f00-1234567890ab", 3_791_483_053),
        ("_PING", "00000000-0000-0000-0000-000000000000", 2_221_658_983),
        ("_PING", "ffffffff-ffff-ffff-ffff-ffffffffffff", 1_040_691_797),
        ("_PING", "6fa459ea-ee8a-3ca4-894e-db77e160355e", 3_399_629_101),
        ("new-checkout", "0190a5c0-7e3b-7c2a-8f00-1234567890ab", 675_191_104),
        ("new-checkout", "00000000-0000-0000-0000-000000000000", 1_730_892_697),
        ("new-checkout", "ffffffff-ffff-ffff-ffff-ffffffffffff", 3_257_909_384),
        ("new-checkout", "6fa459ea-ee8a-3ca4-894e-db77e160355e", 1_227_979_322),
        ("shop:checkout.v2", "0190a5c0-7e3b-7c2a-8f00-1234567890ab", 1_598_818_182),
        ("shop:checkout.v2", "00000000-0000-0000-0000-000000000000", 2_103_076_276),
        ("shop:checkout.v2", "ffffffff-ffff-ffff-ffff-ffffffffffff", 2_296_519_453),
        ("shop:checkout.v2", "6fa459ea-ee8a-3ca4-894e-db77e160355e", 1_430_697_721),
    ];

    #[test]
    fn a_rule_asks_for_one_of_its_roles_and_for_the_percentage() {
        let flag = name("READ_USERS_ME");
        let place = f64::from(place_of("READ_USERS_ME", ANN.parse().unwrap())) / f64::from(u32::MAX);
        let rule = |part: f64, roles: &[Role]| {
            Flag::Rules(vec![Rule {
                percentage: Percentage::new(part),
                roles: roles.iter().copied().collect(),
            }])
        };
        let ann = person(ANN, &[Role::User, Role::Tester]);
        for (value, on) in [
            (rule(1.0, &[]), true),
            (rule(0.0, &[]), false),
            (rule(place, &[]), false),
            (rule(place + 1e-9, &[]), true),
            (rule(1.0, &[Role::Tester, Role::Admin]), true),
            (rule(1.0, &[Role::Admin]), false),
            (rule(0.0, &[Role::Tester]), false),
            (Flag::Rules(vec![]), false),
            (Flag::Rules(vec![Rule { percentage: None, roles: Roles::default() }]), true),
        ] {
            assert_eq!(value.decide(&flag, Shelter::None, Some(&ann)).on, on, "{value:?}");
            let nobody = value.decide(&flag, Shelter::None, None);
            assert_eq!(nobody, Decision { on: false, reason: Reason::NeedsPerson });
        }
    }

    #[test]
    fn the_first_rule_that_matches_is_told() {
        let rules = [Role::Admin, Role::User]
            .map(|role| Rule { percentage: None, roles: [role].into_iter().collect() });
        let flag = Flag::Rules(rules.to_vec());
        let reason =
            |roles: &[Role]| flag.decide(&name("x"), Shelter::None, Some(&person(ANN, roles))).reason;
        assert_eq!(reason(&[Role::User]), Reason::Rule(1));
        assert_eq!(reason(&[Role::User, Role::Admin]), Reason::Rule(0));
        assert_eq!(reason(&[Role::Tester]), Reason::NoRule);
    }

    #[test]
    fn a_shelter_holds_against_any_value_and_says_so() {
        let (login, admin, ann) = (name("LOGIN"), person(ANN, &[Role::Admin]), person(ANN, &[Role::User]));
        for value in [Flag::Off, Flag::Rules(vec![])] {
            let told = |shelter, who| value.decide(&login, shelter, who);
            assert_eq!(told(Shelter::All, None), Decision { on: true, reason: Reason::Always });
            assert_eq!(told(Shelter::Admins, Some(&admin)), Decision { on: true, reason: Reason::Admin });
            assert!(!told(Shelter::Admins, Some(&ann)).on);
            assert_eq!(told(Shelter::Admins, None), Decision { on: false, reason: Reason::NeedsPerson });
        }
    }

    #[test]
    fn a_percentage_is_a_part_of_all() {
        for bad in [-0.1, -1.0, 1.1, 2.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Percentage::new(bad), None, "{bad}");
        }
        assert!(Percentage::new(0.0).is_some() && Percentage::new(1.0).is_some());
    }
}
