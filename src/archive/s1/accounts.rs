//! Accounts at other providers. What the providers gave S1 stays there: its tokens lay open in the database and in every
//! export of it, so they are worth nothing; signing in needs none, and brings new ones.

use std::collections::HashSet;

use rusqlite::types::Value;
use url::Url;
use uuid::Uuid;

use super::source::{ACCOUNTS, Row};
use super::values::{id_value, stable_id, words};
use super::{Unfit, Work};
use crate::users::Email;

/// The providers that S1 knows, as it names them in lower case; they are named so here, too.
const PROVIDERS: [&str; 7] = ["discord", "github", "google", "twitch", "reddit", "twitter", "bluesky"];
/// The longest id, name and address of a picture.
const SUBJECT: usize = 255;
const NAME: usize = 128;
const ADDRESS: usize = 2048;

const COLUMNS: &str =
    "id, provider, subject, user_id, username, display_name, email, picture_url, created_at, updated_at";

/// Which accounts are somebody's already.
#[derive(Default)]
struct Taken {
    subjects: HashSet<(String, String)>,
    users: HashSet<(Uuid, String)>,
}

impl Work<'_> {
    pub(super) fn accounts(&mut self) -> Result<(), Unfit> {
        let (mut after, mut taken) = (i64::MIN, Taken::default());
        loop {
            let rows = self.source.portion(ACCOUNTS, after)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.number;
            let mut accounts = Vec::new();
            for row in &rows {
                accounts.extend(self.account(row, &mut taken)?);
            }
            self.write("external_accounts", COLUMNS, accounts)?;
        }
    }

    fn account(&mut self, row: &Row, taken: &mut Taken) -> Result<Option<Vec<Value>>, Unfit> {
        let (user, subject) = (row.uuid("user_uuid")?, row.text("external_account_id")?);
        let provider = row.text("provider")?.to_lowercase();
        let whose = format!("{user}: the account at {}", words(&provider, NAME));
        let Some(at) = self.people.made.get(&user).copied() else {
            self.note(format!("{whose} is nobody's; it is left out"));
            return Ok(None);
        };
        if !PROVIDERS.contains(&&*provider) {
            self.note(format!("{whose} is left out: there is no such provider"));
            return Ok(None);
        }
        let fits = (1..=SUBJECT).contains(&subject.len()) && !subject.contains(char::is_control);
        if !fits {
            return Err(row.unfit("external_account_id", "is no provider's id of anybody"));
        }
        if !taken.subjects.insert((provider.clone(), subject.to_owned())) {
            return Err(row.unfit("external_account_id", "is another account's, too"));
        }
        if !taken.users.insert((user, provider.clone())) {
            self.note(format!("{whose} is left out: one at each provider is the most, and there is another"));
            return Ok(None);
        }
        let text = |column| {
            let text =
                row.optional_text(column)?.map(|text| words(text, NAME)).filter(|text| !text.is_empty());
            Ok::<_, Unfit>(text)
        };
        let email = row.optional_text("email")?.and_then(|email| Email::parse(email).ok());
        let picture = row.optional_text("picture_url")?.filter(|address| is_picture(address));
        Ok(Some(vec![
            id_value(stable_id(at, &["account", &provider, subject])),
            provider.into(),
            subject.to_owned().into(),
            id_value(user),
            text("username")?.into(),
            text("display_name")?.into(),
            email.map(|email| email.as_str().to_owned()).into(),
            picture.map(str::to_owned).into(),
            at.into(),
            at.into(),
        ]))
    }
}

fn is_picture(address: &str) -> bool {
    address.len() <= ADDRESS && Url::parse(address).is_ok_and(|url| url.scheme() == "https")
}
