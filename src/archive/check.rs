//! Whether a row of a file is what its feature would have written: read by the same types that read what people type.
//!
//! Rules that an operator sets (the shortest user name, whether display names are free) are not asked: a name that was
//! good when it was chosen stays good.

use super::row::{Cell, Flaw, Row};
use super::tables::Part;
use crate::files::FileName;
use crate::otp::Method;
use crate::platform::clock::Timestamp;
use crate::platform::hashing;
use crate::sessions::Roles;
use crate::users::{
    Description, DisplayName, Email, Locale, Metadata, PersonName, Username, as_prose, fits_name, fits_prose,
};

/// The last moment that rows keep.
const LAST_MOMENT: i64 = Timestamp::LAST.millis();
/// The longest text that the program writes by itself, in bytes: a line of history.
const LONGEST_WORDS: usize = 16 * 1024;
/// The longest text of another provider, in bytes.
const LONGEST_FOREIGN: usize = 2048;
/// The longest sealed value, in bytes: what a provider gave us. Two tokens of 32 KiB may be twice as long in JSON, and
/// addresses stand beside them.
const LONGEST_SEALED: usize = 256 * 1024;
/// From where a count, and the numbers of files, go on at most: there is room behind it for as much again.
pub(super) const HIGHEST_COUNT: i64 = i64::MAX / 2;
/// The largest file, in bytes: as large as an upload may be set to be. Sums of many stay integers.
const LARGEST_FILE: i64 = 1 << 40;

/// Puts right what this program itself may have written once, and would not write any more: a file with it must not be
/// lost. What it puts right decides nothing. Counts that are near their end go on from where they can be added to:
/// refused, they would be so again in the next export, which has come further.
pub(super) fn tidy(row: &mut Row) {
    let table = row.table;
    for column in table.columns.iter().filter(|column| column.part == Part::Counter) {
        if row.whole(column.name).is_some_and(|count| count > HIGHEST_COUNT) {
            row.set(column.name, Cell::Whole(HIGHEST_COUNT));
        }
    }
    match table.name {
        "user_history" => {
            let unseen = row.text("description").filter(|words| !words.chars().all(fits_prose));
            if let Some(words) = unseen.map(str::to_owned) {
                row.set("description", Cell::Text(as_prose(words)));
            }
        }
        "workos_users" => {
            for column in ["updated_at", "deleted_at"] {
                if let Some(at) = row.whole(column) {
                    row.set(column, Cell::Whole(at.clamp(0, LAST_MOMENT)));
                }
            }
        }
        _ => {}
    }
}

/// An account.
pub(super) fn user(row: &Row) -> Result<(), Flaw> {
    let username = row.text("username").and_then(Username::for_lookup);
    let username = username.filter(|name| row.text("username") == Some(name.as_str()));
    let username = username.ok_or_else(|| Flaw::new("username", "is no user name"))?;
    holds(username.is_plain(), "username", "holds what can't be seen, so it could pass for another name")?;
    let shown = row.text("display_name").unwrap_or_default();
    let fits = DisplayName::of_username(shown, &username).is_ok() || DisplayName::free(shown).is_ok();
    holds(fits, "display_name", "is no display name")?;
    let search = DisplayName::search_key_of(shown);
    holds(row.text("search_name") == Some(&search), "search_name", "does not belong to the display name")?;
    for column in ["email", "pending_email"] {
        same(row, column, |text| Email::parse(text).ok().map(|email| email.to_string()))?;
    }
    for column in ["first_name", "last_name", "middle_name"] {
        same(row, column, |text| PersonName::parse(text).ok()?.map(|name| name.as_str().to_owned()))?;
    }
    same(row, "description", |text| Description::parse(text).ok().map(|text| text.to_string()))?;
    same(row, "locale", |text| Locale::parse(text).ok().map(|locale| locale.to_string()))?;
    same(row, "metadata", |text| {
        let object = serde_json::from_str(text).ok()?;
        Metadata::parse(object).ok().map(Metadata::into_json)
    })?;
    let hash = row.text("password_hash");
    holds(hash.is_none_or(hashing::is_usable), "password_hash", "is no hash that can be compared with")?;
    let roles = row.whole("roles").and_then(|bits| i32::try_from(bits).ok());
    let known = roles.is_some_and(|bits| Roles::from_bits(bits).bits() == bits);
    holds(known, "roles", "holds roles that do not exist")?;
    let known = row.text("otp_method").is_some_and(|name| name.parse::<Method>().is_ok());
    holds(known, "otp_method", "is no second factor")?;
    for column in ["token_version", "revision", "event_sequence"] {
        holds(row.whole(column).is_some_and(|count| count >= 0), column, "must not be negative")?;
    }
    moments(row, &["password_changed_at", "created_at", "updated_at", "deleted_at"])
}

/// An id that nobody gets again.
pub(super) fn spent_user_id(row: &Row) -> Result<(), Flaw> {
    moments(row, &["spent_at"])
}

/// A line of history.
pub(super) fn history(row: &Row) -> Result<(), Flaw> {
    // What is old is found, and forgotten, by ids that begin with the moment.
    let begins_with_moment = row.id("id").is_some_and(|id| id.get_version_num() == 7);
    holds(begins_with_moment, "id", "is no UUID of version 7")?;
    let action = row.text("action").unwrap_or_default();
    let is_name = (1..=64).contains(&action.len())
        && action.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    holds(is_name, "action", "is no name of something that was done")?;
    at_most(row, "description", LONGEST_WORDS)?;
    let trace = row.text("trace_id");
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_trace = trace.is_none_or(|id| (1..=128).contains(&id.len()) && id.bytes().all(fits));
    holds(is_trace, "trace_id", "is no trace id")?;
    moments(row, &["at"])
}

/// Somebody blocks somebody.
pub(super) fn block(row: &Row) -> Result<(), Flaw> {
    holds(row.id("user_id") != row.id("blocked_id"), "blocked_id", "nobody blocks themselves")?;
    moments(row, &["created_at"])
}

/// An authenticator. Whether its seed can be opened is asked where the secrets are.
pub(super) fn second_factor(row: &Row) -> Result<(), Flaw> {
    sealed(row, "sealed_seed")?;
    // A step takes a second at least.
    let steps = -1..=LAST_MOMENT / 1000;
    holds(row.whole("last_step").is_some_and(|step| steps.contains(&step)), "last_step", "is no step")
}

/// What a recovery code is recognised by.
pub(super) fn recovery_code(row: &Row) -> Result<(), Flaw> {
    holds(row.bytes("digest").is_some_and(|digest| digest.len() == 32), "digest", "must be 32 bytes")
}

/// An account at another provider.
pub(super) fn external_account(row: &Row) -> Result<(), Flaw> {
    let visible =
        |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    holds(row.text("provider").is_some_and(visible), "provider", "is no name of a provider")?;
    let subject = row.text("subject").unwrap_or_default();
    holds((1..=LONGEST_FOREIGN).contains(&subject.len()), "subject", "is empty or too long")?;
    for column in ["username", "display_name", "email"] {
        at_most(row, column, LONGEST_FOREIGN)?;
        only(row, column, fits_name)?;
    }
    let url = row.text("picture_url");
    let is_web = |text: &str| {
        text.len() <= LONGEST_FOREIGN
            && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    };
    holds(url.is_none_or(is_web), "picture_url", "is no web address")?;
    sealed(row, "sealed_grant")?;
    moments(row, &["created_at", "updated_at"])
}

/// A file: what is known of it. Where its bytes are is made of its `blob` alone, never of a name.
pub(super) fn file(row: &Row) -> Result<(), Flaw> {
    let name = row.text("name").unwrap_or_default();
    holds(FileName::may_stand(name), "name", "is no name of a file")?;
    let media_type = row.text("media_type").unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    let is_type =
        (3..=255).contains(&media_type.len()) && media_type.bytes().all(fits) && media_type.contains('/');
    holds(is_type, "media_type", "is no media type")?;
    same(row, "description", |text| Description::parse(text).ok().map(|text| text.to_string()))?;
    holds(row.whole("id").is_some_and(|id| id > 0), "id", "is no number of a file")?;
    let is_size = row.whole("size").is_some_and(|size| (0..=LARGEST_FILE).contains(&size));
    holds(is_size, "size", "is no size of a file")?;
    holds(row.bytes("sha256").is_some_and(|digest| digest.len() == 32), "sha256", "must be 32 bytes")?;
    moments(row, &["created_at"])
}

/// A file that somebody else may read.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one shape for all tables; two ids say nothing that could be wrong"
)]
pub(super) fn file_link(_: &Row) -> Result<(), Flaw> {
    Ok(())
}

/// Somebody in the directory of `WorkOS`.
pub(super) fn workos_user(row: &Row) -> Result<(), Flaw> {
    let id = row.text("id").unwrap_or_default();
    let is_id = (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    holds(is_id, "id", "is no id")?;
    moments(row, &["updated_at", "deleted_at", "noted_at"])
}

fn holds(is_so: bool, column: &'static str, words: &'static str) -> Result<(), Flaw> {
    if is_so { Ok(()) } else { Err(Flaw::new(column, words)) }
}

/// What stands there is what its type makes of it.
fn same(row: &Row, column: &'static str, read: impl Fn(&str) -> Option<String>) -> Result<(), Flaw> {
    let Some(text) = row.text(column) else { return Ok(()) };
    let is_same = read(text).is_some_and(|read| read == text);
    holds(is_same, column, "is not as it would be stored here")
}

fn at_most(row: &Row, column: &'static str, most: usize) -> Result<(), Flaw> {
    holds(row.text(column).is_none_or(|text| text.len() <= most), column, "is too long")
}

fn only(row: &Row, column: &'static str, fits: fn(char) -> bool) -> Result<(), Flaw> {
    let is_so = row.text(column).is_none_or(|text| text.chars().all(fits));
    holds(is_so, column, "holds characters that can't be seen, or move others about")
}

fn sealed(row: &Row, column: &'static str) -> Result<(), Flaw> {
    holds(row.bytes(column).is_none_or(|bytes| bytes.len() <= LONGEST_SEALED), column, "is too long")
}

fn moments(row: &Row, columns: &[&'static str]) -> Result<(), Flaw> {
    let is_moment = |cell: &Cell| match cell {
        Cell::Whole(millis) => (0..=LAST_MOMENT).contains(millis),
        other => *other == Cell::Null,
    };
    match columns.iter().find(|column| !is_moment(row.cell(column))) {
        Some(&column) => Err(Flaw::new(column, "is no time")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::archive::tables::Table;

    fn row(table: &str, cells: &[(&str, Cell)]) -> Row {
        let table = Table::named(table).unwrap();
        let mut row = Row { table, cells: table.columns.iter().map(|column| column.before.into()).collect() };
        for (column, cell) in cells {
            row.set(column, cell.clone());
        }
        row
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    #[test]
    fn a_line_of_history_loses_what_can_not_be_seen_and_nothing_else() {
        for (stands, becomes) in [
            ("a\u{FDD0}.txt", "a\u{FFFD}.txt"),
            ("\u{202E}nimda", "\u{FFFD}nimda"),
            ("👩\u{200D}👧\nb", "👩\u{200D}👧\nb"),
        ] {
            let mut line = row("user_history", &[("description", text(stands))]);
            tidy(&mut line);
            assert_eq!(line.text("description"), Some(becomes));
        }
    }

    #[test]
    fn a_moment_of_workos_that_rows_do_not_keep_becomes_the_nearest_that_they_do() {
        for (stands, becomes) in
            [(-62_135_596_800_000, 0), (7, 7), (LAST_MOMENT, LAST_MOMENT), (i64::MAX, LAST_MOMENT)]
        {
            let moment = Cell::Whole(stands);
            let mut person = row("workos_users", &[("updated_at", moment.clone()), ("deleted_at", moment)]);
            tidy(&mut person);
            assert_eq!(person.whole("updated_at"), Some(becomes));
            assert_eq!(person.whole("deleted_at"), Some(becomes));
        }
        let mut alive = row("workos_users", &[("updated_at", Cell::Whole(7))]);
        tidy(&mut alive);
        assert_eq!(alive.whole("deleted_at"), None);
    }

    #[test]
    fn counts_can_be_added_to() {
        for (stands, becomes) in
            [(0, 0), (7, 7), (HIGHEST_COUNT, HIGHEST_COUNT), (i64::MAX, HIGHEST_COUNT), (-1, -1)]
        {
            let counts = ["token_version", "revision", "event_sequence"];
            let mut person = row("users", &counts.map(|column| (column, Cell::Whole(stands))));
            tidy(&mut person);
            for column in counts {
                assert_eq!(person.whole(column), Some(becomes), "{column}");
            }
        }
    }

    #[test]
    fn the_last_step_of_an_authenticator_is_one_that_a_clock_can_show() {
        let factor = |step: i64| {
            let cells = [("user_id", Cell::Id(Uuid::from_u128(1))), ("last_step", Cell::Whole(step))];
            second_factor(&row("second_factors", &cells))
        };
        for step in [-1, 0, 60_000_000, LAST_MOMENT / 1000] {
            assert!(factor(step).is_ok(), "{step}");
        }
        for step in [-2, LAST_MOMENT / 1000 + 1, i64::MAX] {
            assert!(factor(step).is_err(), "{step}");
        }
    }

    #[test]
    fn the_longest_tokens_of_a_provider_are_taken() {
        // Access and refresh token, each character escaped.
        let sealed = 4 * 32 * 1024 + 1024;
        let account = |bytes: usize| {
            let cells = [
                ("id", Cell::Id(Uuid::from_u128(1))),
                ("provider", text("github")),
                ("subject", text("1")),
                ("sealed_grant", Cell::Bytes(vec![7; bytes])),
                ("created_at", Cell::Whole(0)),
                ("updated_at", Cell::Whole(0)),
            ];
            external_account(&row("external_accounts", &cells))
        };
        assert!(account(sealed).is_ok());
        assert!(account(LONGEST_SEALED + 1).is_err());
    }
}
