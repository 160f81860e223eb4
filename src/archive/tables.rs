//! What travels from one database to another, and what does not.
//!
//! Every table of the schema is in one of two lists, and every column of one that travels is named; a test holds both
//! against the migrations. A new table therefore needs a decision.

use super::check;
use super::row::{Flaw, Row};

/// A table that travels.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Where its rows are read from: itself, or what it must be joined with to name its rows.
    pub source: &'static str,
    /// Its columns; those that name a row come first.
    pub columns: &'static [Column],
    /// How many of the first columns name a row.
    pub key: usize,
    /// What may be there once beside the key.
    pub unique: &'static [Unique],
    /// Columns that do not travel and must hold something: what, in a new row.
    pub fixed: &'static [(&'static str, i64)],
    /// Columns that name users, without whom the row makes no sense.
    pub users: &'static [&'static str],
    /// Whether a row is what its feature would have written.
    pub check: fn(&Row) -> Result<(), Flaw>,
}

/// A column that travels.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What stands in it.
    pub kind: Kind,
    /// Whether nothing may stand in it.
    pub nullable: bool,
    /// Whether nothing in it means that nobody has said anything yet, so that an import may fill it. That somebody has no
    /// password, or is not deleted, says something.
    pub fillable: bool,
    /// What it is to the row.
    pub part: Part,
    /// What it holds where the file is older than the column.
    pub before: Before,
}

/// What a column holds in rows that are older than it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// 0.
    Zero,
    /// This.
    Word(&'static str),
}

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A UUID.
    Id,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// An integer of 64 bits.
    Whole,
    /// An integer of 32 bits.
    Small,
    /// Yes or no.
    Flag,
}

/// What a column is to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It tells something: it is in the dump, and `recover` puts it back.
    Content,
    /// It counts what happened in one database (changes, events): it travels with a new row and stays as it is in
    /// one that is there. It is not in the dump.
    Counter,
    /// It was given by the database (the number of a file): a new row keeps it where it is free.
    Number,
}

/// Columns whose values may be there once.
#[derive(Debug)]
pub struct Unique {
    /// The columns.
    pub columns: &'static [&'static str],
    /// A column that must be empty for a row to count; none: all count.
    pub unless: Option<&'static str>,
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, nullable: false, fillable: false, part: Part::Content, before: Before::Nothing }
}

const fn maybe(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, nullable: true, fillable: false, part: Part::Content, before: Before::Nothing }
}

const fn empty(name: &'static str, kind: Kind) -> Column {
    Column { fillable: true, ..maybe(name, kind) }
}

const fn counter(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Whole,
        nullable: false,
        fillable: false,
        part: Part::Counter,
        before: Before::Zero,
    }
}

const fn once(columns: &'static [&'static str], unless: Option<&'static str>) -> Unique {
    Unique { columns, unless }
}

/// What travels, in the order in which it can be written: nothing refers to what comes later.
pub static TRAVELS: &[Table] = &[
    Table {
        name: "users",
        source: "users",
        columns: &[
            column("id", Kind::Id),
            column("username", Kind::Text),
            column("display_name", Kind::Text),
            column("search_name", Kind::Text),
            empty("email", Kind::Text),
            column("email_verified", Kind::Flag),
            maybe("pending_email", Kind::Text),
            empty("first_name", Kind::Text),
            empty("last_name", Kind::Text),
            empty("middle_name", Kind::Text),
            empty("description", Kind::Text),
            empty("locale", Kind::Text),
            maybe("password_hash", Kind::Text),
            maybe("password_changed_at", Kind::Whole),
            column("roles", Kind::Small),
            column("is_active", Kind::Flag),
            column("is_external_only", Kind::Flag),
            Column { before: Before::Word("none"), ..column("otp_method", Kind::Text) },
            column("metadata", Kind::Text),
            counter("token_version"),
            counter("revision"),
            counter("event_sequence"),
            column("created_at", Kind::Whole),
            column("updated_at", Kind::Whole),
            maybe("deleted_at", Kind::Whole),
        ],
        key: 1,
        unique: &[once(&["username"], Some("deleted_at")), once(&["email"], Some("deleted_at"))],
        fixed: &[],
        users: &[],
        check: check::user,
    },
    Table {
        name: "spent_user_ids",
        source: "spent_user_ids",
        columns: &[column("id", Kind::Id), column("spent_at", Kind::Whole)],
        key: 1,
        unique: &[],
        fixed: &[],
        users: &[],
        check: check::spent_user_id,
    },
    Table {
        name: "user_history",
        source: "user_history",
        columns: &[
            column("id", Kind::Id),
            column("user_id", Kind::Id),
            column("at", Kind::Whole),
            column("action", Kind::Text),
            column("description", Kind::Text),
            maybe("by_id", Kind::Id),
            maybe("trace_id", Kind::Text),
        ],
        key: 1,
        unique: &[],
        fixed: &[],
        users: &["user_id"],
        check: check::history,
    },
    Table {
        name: "user_blocks",
        source: "user_blocks",
        columns: &[
            column("user_id", Kind::Id),
            column("blocked_id", Kind::Id),
            column("created_at", Kind::Whole),
        ],
        key: 2,
        unique: &[],
        fixed: &[],
        users: &["user_id", "blocked_id"],
        check: check::block,
    },
    Table {
        name: "second_factors",
        source: "second_factors",
        columns: &[column("user_id", Kind::Id), maybe("sealed_seed", Kind::Bytes), counter("last_step")],
        key: 1,
        unique: &[],
        fixed: &[],
        users: &["user_id"],
        check: check::second_factor,
    },
    Table {
        name: "recovery_codes",
        source: "recovery_codes",
        columns: &[column("user_id", Kind::Id), column("digest", Kind::Bytes)],
        key: 2,
        unique: &[],
        fixed: &[],
        users: &["user_id"],
        check: check::recovery_code,
    },
    Table {
        name: "external_accounts",
        source: "external_accounts",
        columns: &[
            column("id", Kind::Id),
            column("provider", Kind::Text),
            column("subject", Kind::Text),
            column("user_id", Kind::Id),
            empty("username", Kind::Text),
            empty("display_name", Kind::Text),
            empty("email", Kind::Text),
            empty("picture_url", Kind::Text),
            maybe("sealed_grant", Kind::Bytes),
            column("created_at", Kind::Whole),
            column("updated_at", Kind::Whole),
        ],
        key: 1,
        unique: &[once(&["provider", "subject"], None), once(&["user_id", "provider"], None)],
        fixed: &[],
        users: &["user_id"],
        check: check::external_account,
    },
    Table {
        name: "files",
        source: "files",
        columns: &[
            // A file is known by its bytes; its number may be another one elsewhere.
            column("blob", Kind::Id),
            Column { part: Part::Number, ..column("id", Kind::Whole) },
            column("created_by", Kind::Id),
            maybe("picture_of", Kind::Id),
            column("name", Kind::Text),
            column("media_type", Kind::Text),
            empty("description", Kind::Text),
            column("size", Kind::Whole),
            column("sha256", Kind::Bytes),
            column("created_at", Kind::Whole),
        ],
        key: 1,
        unique: &[once(&["created_by", "name"], Some("picture_of")), once(&["picture_of"], None)],
        fixed: &[],
        users: &["created_by", "picture_of"],
        check: check::file,
    },
    Table {
        name: "file_links",
        source: "file_links JOIN files ON files.id = file_links.file_id",
        columns: &[column("user_id", Kind::Id), column("blob", Kind::Id)],
        key: 2,
        unique: &[],
        fixed: &[],
        users: &["user_id"],
        check: check::file_link,
    },
    Table {
        name: "workos_users",
        source: "workos_users",
        columns: &[
            column("id", Kind::Text),
            maybe("user_id", Kind::Id),
            column("updated_at", Kind::Whole),
            maybe("deleted_at", Kind::Whole),
            column("noted_at", Kind::Whole),
        ],
        key: 1,
        unique: &[once(&["user_id"], None)],
        // Named by no listing yet: the next one says whether they are still there.
        fixed: &[("listing", 0)],
        users: &["user_id"],
        check: check::workos_user,
    },
];

/// A table that stays where it is.
#[derive(Debug)]
pub struct Stays {
    /// Its name.
    pub name: &'static str,
    /// Why.
    pub because: &'static str,
}

const fn stays(name: &'static str, because: &'static str) -> Stays {
    Stays { name, because }
}

/// What does not travel, with the reason.
pub static STAYS: &[Stays] = &[
    stays("schema_steps", "says what a database looks like; the file says it of itself"),
    stays(
        "audit_log",
        "a chain that one server has sealed; elsewhere it would prove nothing, and could be forged. A backup holds it",
    ),
    stays("audit_head", "goes with its chain"),
    stays("sessions", "people sign in again: a file of sessions would be a file of keys to every account"),
    stays(
        "signing_keys",
        "each server signs with keys of its own; what an old one signed dies with its sessions",
    ),
    stays("throttles", "counts failures against one server, for minutes"),
    stays("one_time_tokens", "links that were sent out in the name of one server, for a day"),
    stays("mails", "a queue: the server that took a letter in sends it; two would send it twice"),
    stays("mail_batches", "a queue, as `mails`"),
    stays("mail_budgets", "counts letters to one address, for hours"),
    stays("otp_challenges", "sign-ins that are half done, for five minutes"),
    stays("otp_session_codes", "goes with its session"),
    stays("sign_ups", "no account yet: whoever has not proved their address signs up again"),
    stays("mailed_links", "links that were sent out in the name of one server, for a day"),
    stays("file_storage", "names the storage that one database may sweep; a copy must not sweep it"),
    stays(
        "flag_versions",
        "a move must switch nothing on or off; the set is a file that is taken along by itself",
    ),
    stays("oauth_transactions", "sign-ins that are half done, for ten minutes"),
    stays("oauth_codes", "codes that live for a minute"),
    stays("oauth_joinings", "goes with its challenge"),
    stays("events", "a queue and its log: who listens has been told, and is told of what an import changes"),
    stays("leases", "says which instance does something right now"),
    stays("backups", "says what one server has done, and when"),
    stays("webhooks", "a copy must not begin to call the receivers of the original"),
    stays("webhook_deliveries", "goes with its webhook"),
    stays("workos_state", "where one server stands in a feed; another one compares everything first"),
    stays("workos_quarantine", "what one server could not understand, for people to look at there"),
    stays("workos_intents", "accounts that one server is about to make"),
];

impl Table {
    /// The table of this name, if it travels.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TRAVELS.iter().find(|table| table.name == name)
    }

    /// The column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<Column> {
        self.columns.iter().find(|column| column.name == name).copied()
    }

    /// Where a column stands.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The columns that name a row.
    #[must_use]
    pub fn key_columns(&self) -> &'static [Column] {
        &self.columns[..self.key]
    }

    /// The names of all columns of a new row, for a statement.
    #[must_use]
    pub fn names_to_write(&self) -> String {
        let fixed = self.fixed.iter().map(|(name, _)| *name);
        self.columns.iter().map(|column| column.name).chain(fixed).collect::<Vec<_>>().join(", ")
    }

    /// What those of its columns hold that do not travel, to follow the other values.
    #[must_use]
    pub fn fixed_values(&self) -> String {
        self.fixed.iter().map(|(_, value)| [", ", &value.to_string()].concat()).collect()
    }

    /// A column with the table that it stands in, for a statement.
    #[must_use]
    pub fn qualified(&self, column: &str) -> String {
        format!("{}.{column}", self.home_of(column))
    }

    /// The table that a column of it stands in: itself, but for what it is joined with.
    #[must_use]
    pub fn home_of(&self, column: &str) -> &'static str {
        if self.name == "file_links" && column == "blob" { "files" } else { self.name }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rusqlite::Connection;

    use super::*;
    use crate::archive::blank::make_schema;
    use crate::migrations::STEPS;

    /// Columns of tables that travel which do not: a seed that waits for its first code, for ten minutes; and what names a
    /// file in one database, in whose place its bytes do.
    const COLUMNS_STAY: [&str; 3] =
        ["second_factors.pending_seed", "second_factors.pending_until", "file_links.file_id"];

    fn schema() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        make_schema(&connection, &STEPS.iter().collect::<Vec<_>>()).unwrap();
        connection
    }

    fn texts(connection: &Connection, sql: &str) -> BTreeSet<String> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn of_every_table_it_is_said_whether_it_travels() {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
        let decided = TRAVELS.iter().map(|table| table.name).chain(STAYS.iter().map(|table| table.name));
        let decided: Vec<String> = decided.map(str::to_owned).collect();
        assert_eq!(
            decided.iter().cloned().collect::<BTreeSet<_>>().len(),
            decided.len(),
            "a table is there twice"
        );
        assert_eq!(texts(&schema(), sql), decided.into_iter().collect());
        assert!(STAYS.iter().all(|table| !table.because.is_empty()));
    }

    #[test]
    fn every_column_of_a_table_that_travels_does_or_is_listed() {
        let connection = schema();
        for table in TRAVELS {
            let sql = format!("SELECT name FROM pragma_table_info('{}')", table.name);
            let named = table.columns.iter().filter(|column| table.home_of(column.name) == table.name);
            let named = named.map(|column| column.name).chain(table.fixed.iter().map(|(name, _)| *name));
            let stays = COLUMNS_STAY.iter().filter_map(|name| name.strip_prefix(&format!("{}.", table.name)));
            let known: BTreeSet<String> = named.chain(stays).map(str::to_owned).collect();
            assert_eq!(texts(&connection, &sql), known, "{}", table.name);
        }
    }

    #[test]
    fn what_may_be_empty_is_what_the_schema_says() {
        let connection = schema();
        for table in TRAVELS {
            for column in table.columns {
                let sql = format!(
                    "SELECT CASE \"notnull\" WHEN 1 THEN 'needed' ELSE 'may be empty' END \
                     FROM pragma_table_info('{}') WHERE name = '{}'",
                    table.home_of(column.name),
                    column.name
                );
                let said = texts(&connection, &sql).pop_first().unwrap();
                let is_number = column.part == Part::Number;
                assert_eq!(
                    said == "may be empty",
                    column.nullable || is_number,
                    "{}.{}",
                    table.name,
                    column.name
                );
            }
        }
    }
}
