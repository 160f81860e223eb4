//! Somebody as WorkOS tells of them: what is kept is cut and cleaned to our rules, what is missing is none.

use serde_json::Value;
use uuid::Uuid;

use super::moment;
use crate::platform::clock::Timestamp;
use crate::users::{DisplayName, Email, Locale, PersonName, fits_name};

/// The longest id that is kept, in bytes.
const LONGEST_ID: usize = 255;
/// The longest name of a person, in characters.
const LONGEST_NAME: usize = 64;

/// Why something that WorkOS sent can't be used; kept with it, for people.
pub type Flaw = &'static str;

/// A user of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who they are there.
    pub id: String,
    /// Their address; none if it is none by our rules.
    pub email: Option<Email>,
    /// Whether WorkOS says that it is theirs.
    pub email_verified: bool,
    /// First name.
    pub first_name: Option<PersonName>,
    /// Last name.
    pub last_name: Option<PersonName>,
    /// What they are shown as there.
    pub name: Option<String>,
    /// The id that we gave them, if it was we who made them.
    pub external_id: Option<Uuid>,
    /// Their language.
    pub locale: Option<Locale>,
    /// When they were last changed there.
    pub updated_at: Option<Timestamp>,
}

impl Person {
    /// Reads a user object. Only id and address must be there; a time that is there must be one.
    pub fn read(user: &Value) -> Result<Self, Flaw> {
        let id = id_of(user).ok_or("it names no user")?;
        let email = user["email"].as_str().ok_or("the user has no e-mail address")?;
        Ok(Self {
            id,
            email: Email::parse(email.trim()).ok(),
            email_verified: user["email_verified"] == Value::Bool(true),
            first_name: person_name(user, "first_name"),
            last_name: person_name(user, "last_name"),
            name: cleaned(user, "name"),
            external_id: user["external_id"].as_str().and_then(|id| Uuid::parse_str(id).ok()),
            locale: user["locale"].as_str().and_then(|locale| Locale::parse(locale).ok()),
            updated_at: changed_at(user)?,
        })
    }

    /// What they are shown as, where names are free.
    #[must_use]
    pub fn display_name(&self) -> Option<DisplayName> {
        let parts = [self.first_name.as_ref(), self.last_name.as_ref()].into_iter().flatten();
        let both = parts.map(PersonName::as_str).collect::<Vec<_>>().join(" ");
        let both: String = both.chars().take(LONGEST_NAME).collect();
        let names = [self.name.as_deref().unwrap_or_default(), both.trim()];
        names.into_iter().find_map(|name| DisplayName::free(name).ok())
    }
}

/// The id of a user object.
pub(super) fn id_of(user: &Value) -> Option<String> {
    usable_id(&user["id"])
}

/// When a user object says that it was last changed.
pub(super) fn changed_at(user: &Value) -> Result<Option<Timestamp>, Flaw> {
    match &user["updated_at"] {
        Value::Null => Ok(None),
        Value::String(text) => moment::of_json(text).map(Some).ok_or("updated_at is no time"),
        _ => Err("updated_at is no time"),
    }
}

/// An id is opaque, but it is one: visible ASCII, not endless.
pub(super) fn usable_id(id: &Value) -> Option<String> {
    let id = id.as_str()?;
    let is_usable = (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_usable.then(|| id.to_owned())
}

fn person_name(user: &Value, field: &str) -> Option<PersonName> {
    cleaned(user, field).and_then(|name| PersonName::parse(&name).ok().flatten())
}

/// Words without what is invisible, cut; none if nothing is left.
fn cleaned(user: &Value, field: &str) -> Option<String> {
    let text: String = user[field].as_str()?.trim().chars().filter(|char| fits_name(*char)).collect();
    let cut: String = text.trim().chars().take(LONGEST_NAME).collect();
    let cut = cut.trim();
    (!cut.is_empty()).then(|| cut.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn person(more: &Value) -> Result<Person, Flaw> {
        let mut user = json!({"object": "user", "id": "user_01", "email": "ann@example.com"});
        let fields = more.as_object().unwrap().clone();
        user.as_object_mut().unwrap().extend(fields);
        Person::read(&user)
    }

    #[test]
    fn an_old_payload_without_the_newer_fields_is_somebody() {
        let ann = person(&json!({})).unwrap();
        assert_eq!((ann.id.as_str(), ann.email.unwrap().as_str()), ("user_01", "ann@example.com"));
        assert_eq!((ann.first_name, ann.external_id, ann.updated_at), (None, None, None));
        assert!(!ann.email_verified);
    }

    #[test]
    fn names_are_cut_and_cleaned() {
        let of = |name: &str| person(&json!({"first_name": name})).unwrap().first_name;
        assert_eq!(of(" Ann ").unwrap().as_str(), "Ann");
        assert_eq!(of("An\u{202E}n\0\n").unwrap().as_str(), "Ann");
        assert_eq!(of(&"x".repeat(500)).unwrap().as_str(), "x".repeat(64));
        for none in ["", "  ", "\u{200B}", "\0"] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    #[test]
    fn nobody_is_made_of_what_has_no_id_or_no_address() {
        for broken in [
            json!({"id": null}),
            json!({"id": ""}),
            json!({"id": "a b"}),
            json!({"id": "x".repeat(256)}),
            json!({"id": 7}),
            json!({"email": null}),
            json!({"email": ["a@b.c"]}),
            json!({"updated_at": "soon"}),
            json!({"updated_at": 5}),
        ] {
            assert!(person(&broken).is_err(), "{broken}");
        }
        assert!(Person::read(&json!([])).is_err() && Person::read(&json!("user_01")).is_err());
        // An address that is none here is no address, and they are somebody all the same.
        assert_eq!(person(&json!({"email": "\"odd\"@example.com"})).unwrap().email, None);
    }

    #[test]
    fn only_the_json_word_true_makes_an_address_verified() {
        for lie in [json!("true"), json!(1), json!(null), json!([true])] {
            assert!(!person(&json!({ "email_verified": lie })).unwrap().email_verified);
        }
        assert!(person(&json!({"email_verified": true})).unwrap().email_verified);
    }

    proptest! {
        #[test]
        fn whatever_names_there_are_they_fit_our_rules(first in r"\PC{0,100}", name in ".{0,100}") {
            let read = person(&json!({"first_name": first, "name": name})).unwrap();
            if let Some(first) = &read.first_name {
                prop_assert!(PersonName::parse(first.as_str()).is_ok());
            }
            if let Some(shown) = read.display_name() {
                prop_assert!(DisplayName::free(shown.as_str()).is_ok());
            }
        }
    }
}
