//! User names for people who come from elsewhere.

use sea_orm::DbErr;
use unicode_normalization::UnicodeNormalization;

use super::store;
use crate::platform::db::Tx;
use crate::platform::random::Random;
use crate::users::Username;

/// What somebody is called whose name has nothing that a user name may have.
const NAMELESS: &str = "user";
/// The longest start of a name: leaves room for a number.
const LONGEST: usize = 24;
/// Names that are tried before chance is asked.
const PLAIN: usize = 9;
/// Names made with chance.
const WITH_CHANCE: usize = 8;

/// User names made of what a provider calls somebody, the best first: lower case, `_` for spaces, a number behind it
/// where it is taken (S1). Among so many one is free, but for a row of rare accidents.
pub(crate) fn candidates(names: &[Option<&str>], shortest: usize, random: &Random) -> Vec<Username> {
    let base = names.iter().flatten().map(|name| folded(name)).find(|name| !name.is_empty());
    let base = base.unwrap_or_else(|| NAMELESS.to_owned());
    let plain = std::iter::once(base.clone()).chain((1..=PLAIN).map(|number| format!("{base}{number}")));
    let with_chance = (0..WITH_CHANCE).map(|_| format!("{base}_{}", digits(random)));
    let parsed = plain.chain(with_chance).filter_map(|name| Username::parse(&name, shortest).ok());
    parsed.filter(|name| !name.is_reserved()).collect()
}

/// The first of these names that nobody has.
pub(crate) async fn first_free(tx: &Tx, candidates: Vec<Username>) -> Result<Option<Username>, DbErr> {
    let texts: Vec<&str> = candidates.iter().map(Username::as_str).collect();
    let taken = store::taken_names(tx, &texts).await?;
    Ok(candidates.into_iter().find(|name| !taken.iter().any(|taken| taken == name.as_str())))
}

/// What is left of a name in the letters of user names. Letters with marks lose them; of other scripts nothing stays.
fn folded(name: &str) -> String {
    let mut folded = String::new();
    for char in name.nfkd().take(256).flat_map(char::to_lowercase) {
        match char {
            'a'..='z' | '0'..='9' => folded.push(char),
            ' ' | '_' | '-' | '.' if !folded.is_empty() && !folded.ends_with('_') => folded.push('_'),
            _ => {}
        }
    }
    folded.truncate(LONGEST);
    folded.trim_end_matches('_').to_owned()
}

/// Six digits.
fn digits(random: &Random) -> String {
    format!("{:06}", u32::from_be_bytes(random.bytes()) % 1_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(name: &str) -> String {
        candidates(&[Some(name)], 5, &Random::seeded(1))[0].to_string()
    }

    #[test]
    fn a_name_from_elsewhere_becomes_a_user_name() {
        for (name, expected) in [
            ("octocat", "octocat"),
            ("Anne Marie", "anne_marie"),
            ("Ånne-Márie.Ölçer", "anne_marie_olcer"),
            ("../../etc/passwd", "etcpasswd"),
            ("<script>alert(1)</script>", "scriptalert1script"),
            ("  spaced   out  ", "spaced_out"),
            ("\u{202E}evil\u{0}name", "evilname"),
            ("ﬁvefive", "fivefive"),
        ] {
            assert_eq!(first(name), expected, "{name:?}");
        }
    }

    #[test]
    fn one_that_is_too_short_or_reserved_gets_a_number() {
        for (name, start) in
            [("bob", "bob_"), ("admin", "admin1"), ("😀😀", "user1"), ("", "user1"), ("иван", "user1")]
        {
            assert!(first(name).starts_with(start), "{name:?}: {}", first(name));
        }
    }

    #[test]
    fn the_first_name_that_says_something_is_taken() {
        let names = candidates(&[None, Some("😀"), Some("John Doe")], 5, &Random::seeded(1));
        assert_eq!(names[0].as_str(), "john_doe");
        assert_eq!(names[1].as_str(), "john_doe1");
    }

    proptest! {
        #[test]
        fn whatever_the_name_there_are_many_to_choose_from(name in r"\PC{0,300}") {
            let names = candidates(&[Some(&name)], 5, &Random::seeded(1));
            prop_assert!(names.len() >= WITH_CHANCE, "{names:?}");
            prop_assert!(names.iter().all(|name| !name.is_reserved()));
        }
    }
}
