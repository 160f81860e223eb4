//! Where a webhook leads, and which events it is sent.

use std::collections::BTreeSet;

use url::Url;

use crate::events::type_named;
use crate::platform::outgoing::Reach;

/// Longest address, in characters; as it is sent, each of them takes twelve bytes at most.
pub(super) const LONGEST_URL: usize = 2048;
/// Longest description, in characters.
pub(super) const LONGEST_DESCRIPTION: usize = 256;
/// Types of events that one webhook may name.
pub(super) const MOST_TYPES: usize = 50;

/// The address of a webhook, within reach.
pub(super) fn url(text: &str, reach: Reach) -> Result<Url, &'static str> {
    if text.chars().nth(LONGEST_URL).is_some() {
        return Err("must have at most 2048 characters");
    }
    let url = Url::parse(text).map_err(|_| "must be an address such as https://example.com/hooks")?;
    if url.fragment().is_some() {
        return Err("must have no part behind a #");
    }
    if !reach.takes(&url) {
        return Err("must be an https address on the public Internet, without user name and password");
    }
    Ok(url)
}

/// Words about a webhook, on one line.
pub(super) fn description(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let fits = text.chars().count() <= LONGEST_DESCRIPTION && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err("must have at most 256 characters, on one line") }
}

/// The types of events that a webhook is sent; none: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EventTypes(BTreeSet<String>);

impl EventTypes {
    /// Reads names such as `user.created`.
    pub(super) fn read(names: &[String]) -> Result<Self, &'static str> {
        if names.len() > MOST_TYPES {
            return Err("must be at most 50");
        }
        let known: Option<BTreeSet<String>> =
            names.iter().map(|name| type_named(name).map(str::to_owned)).collect();
        known.map(Self).ok_or("must be types of events, as user.created")
    }

    /// As they are stored.
    pub(super) fn stored(text: &str) -> Self {
        Self(text.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// To be stored.
    pub(super) fn text(&self) -> String {
        self.names().join(" ")
    }

    /// In the order of the alphabet.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }

    /// Whether an event of this type is sent.
    pub(super) fn take(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ends_at_2048_characters() {
        let outside = Reach { plain: false, private: false };
        let address = |characters| format!("https://example.com/{}", "é".repeat(characters));
        assert_eq!(url(&address(2028), outside).unwrap().as_str().len(), 20 + 2028 * 6);
        assert_eq!(url(&address(2029), outside), Err("must have at most 2048 characters"));
    }

    #[test]
    fn types_are_those_that_there_are_and_no_type_means_all() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let some = EventTypes::read(&names(&["user.updated", "user.created", "user.updated"])).unwrap();
        assert_eq!(some.text(), "user.created user.updated");
        assert_eq!(EventTypes::stored(&some.text()), some);
        assert!(some.take("user.created") && !some.take("user.deleted"));
        let all = EventTypes::read(&[]).unwrap();
        assert!(all.take("user.deleted") && EventTypes::stored(&all.text()).take("session.ended"));
        for bad in
            ["", "user", "user.", ".created", "user.created.x", "user created", "User.created", "*", "user.*"]
        {
            assert!(EventTypes::read(&names(&[bad])).is_err(), "{bad}");
        }
        assert!(EventTypes::read(&vec!["user.created".to_owned(); 51]).is_err());
    }
}
