//! A file into the database: in one transaction, all of it or nothing.
//!
//! A thread reads the file while this writes, a batch at a time. Each batch is compared with what is there: by its keys, by
//! what may be there only once, by the users that it belongs to. So an import costs the same memory for a hundred accounts
//! as for a million, but for the ids of those that it adds.

use std::collections::HashSet;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::file::GatehouseFile;
use super::merge::{Change, changed};
use super::order::Order;
use super::row::{Cell, Flaw, Row};
use super::tables::{TRAVELS, Table};
use super::{Counts, How, ImportRefusal, Mover, Parts, TableCounts, batch, letters, person};
use crate::audit::{self, Entry, SealedEnd, Subject};
use crate::files::Quiet;
use crate::otp::Method;
use crate::platform::db::Tx;
use crate::platform::hexadecimal;
use crate::sessions::{Ending, Role, Roles};
use crate::users::{self, Origin, UserUpdated};

/// Rows that are written together.
pub(super) const BATCH: usize = 500;
/// Batches that wait for the database.
const WAITING: usize = 2;
/// Lines of what was left out that are kept of each table.
const NOTES: usize = 20;
/// People whose rights change that are named in the log of what staff did; of more their number is told.
const NAMED: usize = 1000;
/// The roles of staff.
const STAFF: [Role; 2] = [Role::Admin, Role::Moderator];
/// While an import runs nobody else changes accounts; it waits for those who do so now.
const ALONE: &str = "SET LOCAL lock_timeout = '1min'; SET LOCAL statement_timeout = 0; \
                     SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE users IN EXCLUSIVE MODE";
/// How somebody signs in: an import gives none of it to accounts that were there before, who may have put it away.
const SIGNING_IN: [&str; 3] = ["second_factors", "recovery_codes", "external_accounts"];
/// What decides about somebody's rights and how they sign in: their sessions end when it changes.
const STANDING: [&str; 8] = [
    "email",
    "email_verified",
    "password_hash",
    "roles",
    "is_active",
    "is_external_only",
    "otp_method",
    "deleted_at",
];

/// A part of a file on its way to the database.
pub(super) enum Piece {
    /// Rows of one table.
    Rows(Vec<Row>),
    /// The highest number that a file ever had.
    FileNumber(i64),
    /// Where the log of what staff did ended.
    LogEnd(SealedEnd),
    /// Rows of that log.
    Log(Vec<audit::Row>),
    /// That was all.
    End,
}

/// What reads a file, from another thread.
pub(super) type Pieces = mpsc::Receiver<Result<Piece, ImportRefusal>>;

/// Reads the file on a thread of its own, a few batches ahead; with the log of what staff did, or without.
pub(super) fn begin_reading(file: GatehouseFile, with_log: bool) -> Pieces {
    let (pieces, waiting) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let last = match read(&file, with_log, &pieces) {
            Ok(()) => Ok(Piece::End),
            Err(refusal) => Err(refusal),
        };
        if pieces.blocking_send(last).is_err() {
            tracing::debug!("an import has ended before its file");
        }
    });
    waiting
}

fn read(
    file: &GatehouseFile,
    with_log: bool,
    pieces: &mpsc::Sender<Result<Piece, ImportRefusal>>,
) -> Result<(), ImportRefusal> {
    let send = |piece| {
        let gone = |_| ImportRefusal::Broken(anyhow::anyhow!("the import has ended"));
        pieces.blocking_send(Ok(piece)).map_err(gone)
    };
    for table in TRAVELS {
        let mut rows = Vec::with_capacity(BATCH);
        file.rows(table, &mut |row| {
            rows.push(row);
            if rows.len() < BATCH {
                return Ok(());
            }
            send(Piece::Rows(std::mem::replace(&mut rows, Vec::with_capacity(BATCH))))
        })?;
        send(Piece::Rows(rows))?;
    }
    send(Piece::FileNumber(file.highest_file_number()?))?;
    if !with_log {
        return Ok(());
    }
    let Some(end) = file.log_end()? else { return Ok(()) };
    send(Piece::LogEnd(end))?;
    let mut rows = Vec::with_capacity(BATCH);
    file.log(&mut |row| {
        rows.push(row);
        if rows.len() < BATCH { Ok(()) } else { send(Piece::Log(std::mem::take(&mut rows))) }
    })?;
    send(Piece::Log(rows))
}

/// An import under way.
pub(super) struct Import {
    parts: Arc<Parts>,
    order: Order,
    /// Bytes of files that are found stay where they are.
    quiet: Quiet,
    counts: Counts,
    /// Accounts that were not there before.
    added: HashSet<Uuid>,
    /// Accounts that were there, and sign in otherwise now.
    signed_out: HashSet<Uuid>,
    /// Accounts whose second factor nobody can open.
    unlocked: Vec<Uuid>,
    /// Accounts that were there and had a second factor, which the file does not know of.
    bared: Vec<Uuid>,
    /// Whose rights have changed: the first of them.
    promoted: Vec<Promotion>,
    /// How many these are.
    promotions: u64,
    /// Where the log of what staff did ends that is taken in.
    log: Option<SealedEnd>,
}

/// Somebody who may do more or less than before.
struct Promotion {
    user: Uuid,
    before: Rights,
    after: Rights,
}

/// What an account may do beyond its own affairs.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Rights {
    /// Those of staff; none if it is deleted.
    roles: Roles,
    /// Whether it may be used.
    active: bool,
}

impl Import {
    pub(super) fn new(parts: Arc<Parts>, order: Order, quiet: Quiet) -> Self {
        let counts = TRAVELS.iter().map(|table| (table.name, TableCounts::default())).collect();
        let (added, signed_out, unlocked) = (HashSet::new(), HashSet::new(), Vec::new());
        Self {
            parts,
            order,
            quiet,
            counts,
            added,
            signed_out,
            unlocked,
            bared: Vec::new(),
            promoted: Vec::new(),
            promotions: 0,
            log: None,
        }
    }

    /// Writes what is read, in this transaction.
    pub(super) async fn run(mut self, tx: &Tx, mut pieces: Pieces) -> Result<Counts, ImportRefusal> {
        if tx.get_database_backend() == DbBackend::Postgres {
            tx.execute_unprepared(ALONE).await?;
        }
        // From here on nobody else changes accounts: what is found now of who asks stays so until the end.
        if let Some(by) = &mut self.order.options.by {
            by.caller = self.parts.may_go_on(tx, by).await?;
        }
        let had_admin = users::store::has_admin(tx).await?;
        loop {
            match pieces.recv().await {
                Some(Ok(Piece::Rows(rows))) => self.take(tx, rows).await?,
                Some(Ok(Piece::FileNumber(number))) => batch::set_file_number(tx, number).await?,
                Some(Ok(Piece::LogEnd(end))) => self.begin_log(tx, end).await?,
                Some(Ok(Piece::Log(rows))) if self.log.is_some() => {
                    self.parts.audit.take_in(tx, &rows).await?;
                }
                Some(Ok(Piece::Log(_))) => {}
                Some(Ok(Piece::End)) => break,
                Some(Err(refusal)) => return Err(refusal),
                None => return Err(anyhow::anyhow!("the file was not read to its end").into()),
            }
        }
        self.unlock(tx).await?;
        self.tell_without_factor(tx).await?;
        for user in &self.signed_out {
            self.parts.sessions.end_all(tx, *user, None, Ending::Recovered).await?;
        }
        if had_admin && !users::store::has_admin(tx).await? {
            return Err(ImportRefusal::LastAdmin);
        }
        if let Some(end) = self.log.take() {
            self.parts.audit.end_where(tx, end).await?;
        }
        if !self.quiet.holds(tx).await? {
            return Err(anyhow::anyhow!(
                "it stood still for so long that another server may have swept files; please run it again"
            )
            .into());
        }
        self.note(tx).await?;
        Ok(self.counts)
    }

    /// Takes a log in where there is none yet. One that nobody here has sealed would only look like a log.
    async fn begin_log(&mut self, tx: &Tx, end: SealedEnd) -> Result<(), ImportRefusal> {
        if self.parts.audit.may_take_in(tx, &end).await? {
            self.log = Some(end);
        } else if end.number > 0 {
            tracing::warn!(
                rows = end.number,
                "the log of what staff did was left out: there is one here, or it was sealed under another secret"
            );
        }
        Ok(())
    }

    /// Notes in the log of what staff did how much it was, out of which file, and who may do more or less by it.
    async fn note(&self, tx: &Tx) -> Result<(), ImportRefusal> {
        let (action, promotion) = match self.order.how {
            How::Import => ("database_imported", "roles_imported"),
            How::Recover => ("database_recovered", "roles_recovered"),
        };
        let sum = |of: fn(&TableCounts) -> u64| self.counts.values().map(of).sum::<u64>();
        let entry = super::moves::entry(self.mover(), action)
            .with("added", sum(|table| table.added))
            .with("changed", sum(|table| table.filled + table.overwritten))
            .with("left_out", sum(|table| table.left_out))
            .with("sha256", hexadecimal::written(&self.order.sha256))
            .with("rights_changed", self.promotions)
            .with("rights_not_named", self.promotions - self.promoted.len() as u64);
        self.parts.audit.record(tx, entry).await?;
        for of_one in &self.promoted {
            self.parts.audit.record(tx, of_one.entry(self.mover(), promotion)).await?;
        }
        Ok(())
    }

    /// Remembers it if somebody may do more or less than before.
    fn promote(&mut self, user: Uuid, before: Rights, after: Rights) {
        if before == after || (before.roles.is_empty() && after.roles.is_empty()) {
            return;
        }
        self.promotions += 1;
        if self.promoted.len() < NAMED {
            self.promoted.push(Promotion { user, before, after });
        }
    }

    async fn take(&mut self, tx: &Tx, rows: Vec<Row>) -> Result<(), ImportRefusal> {
        let Some(table) = rows.first().map(|row| row.table) else { return Ok(()) };
        let number = rows.len() as u64;
        let rows = self.sift(tx, table, rows).await?;
        let there = batch::with_keys(tx, table, &rows).await?;
        let (mut new, mut changes) = (Vec::new(), Vec::new());
        for row in rows {
            match there.get(row.key()) {
                None => new.push(row),
                Some(held) => changes.extend(self.compare(held, row)?),
            }
        }
        let new = self.sift_new(tx, table, new).await?;
        let (new, changes) = self.without_doubles(tx, table, new, changes).await?;
        self.add(tx, table, new).await?;
        for change in changes {
            self.change(tx, change).await?;
        }
        self.order.progress.done(number);
        Ok(())
    }

    /// Leaves out rows of users who are not here, and ids that nobody may have again.
    async fn sift(
        &mut self,
        tx: &Tx,
        table: &'static Table,
        rows: Vec<Row>,
    ) -> Result<Vec<Row>, ImportRefusal> {
        let mut kept = Vec::with_capacity(rows.len());
        let wanted =
            |row: &Row| -> Vec<Uuid> { table.users.iter().filter_map(|column| row.id(column)).collect() };
        let owners: HashSet<Uuid> = rows.iter().flat_map(wanted).collect();
        let here = batch::users_here(tx, owners).await?;
        let living = match table.name {
            "spent_user_ids" => batch::users_here(tx, ids_of(&rows)).await?,
            _ => HashSet::new(),
        };
        for mut row in rows {
            let is_here = wanted(&row).iter().all(|user| here.contains(user));
            let lives = row.id("id").is_some_and(|id| living.contains(&id));
            if !is_here {
                self.leave_out(&row, "its account is not here");
            } else if lives {
                self.leave_out(&row, "the account is here");
            } else if self.may_be_opened(&mut row)? {
                kept.push(row);
            }
        }
        Ok(kept)
    }

    /// Whether what is sealed in a row can be opened, or need not be. What can't goes only if that was asked for: a second
    /// factor with its row, what a provider gave us by itself.
    fn may_be_opened(&mut self, row: &mut Row) -> Result<bool, ImportRefusal> {
        let Some(column) = self.parts.unopened(row) else { return Ok(true) };
        if !self.order.options.drop_second_factors {
            return Err(refused(
                row,
                column,
                "no known secret opens it; drop_second_factors leaves such things out",
            ));
        }
        if row.table.name != "second_factors" {
            row.set(column, Cell::Null);
            return Ok(true);
        }
        self.unlocked.extend(row.id("user_id"));
        self.leave_out(row, "no known secret opens it");
        Ok(false)
    }

    /// Leaves out new rows that make no sense here.
    async fn sift_new(
        &mut self,
        tx: &Tx,
        table: &'static Table,
        rows: Vec<Row>,
    ) -> Result<Vec<Row>, ImportRefusal> {
        let spent = match table.name {
            "users" => batch::spent(tx, ids_of(&rows)).await?,
            _ => HashSet::new(),
        };
        let mut kept = Vec::with_capacity(rows.len());
        for row in rows {
            if row.id("id").is_some_and(|id| spent.contains(&id)) {
                self.leave_out(&row, "an account of this id was removed here for good");
            } else if self.is_somebodys_own(&row)? {
                self.leave_out(&row, "how this account signs in is its owner's to say");
            } else if let Some(words) = self.lacks_bytes(&row).await? {
                self.leave_out(&row, words);
            } else {
                self.may_give(&row, Roles::default())?;
                kept.push(row);
            }
        }
        Ok(kept)
    }

    /// Whether a new row is a way to sign in to an account that was there before.
    fn is_somebodys_own(&self, row: &Row) -> Result<bool, ImportRefusal> {
        let user = row.id("user_id").filter(|user| !self.added.contains(user));
        let Some(user) = user.filter(|_| SIGNING_IN.contains(&row.table.name)) else { return Ok(false) };
        if self.order.how == How::Recover && self.is_caller(user) {
            return Err(refused(row, "user_id", "would change how you sign in yourself"));
        }
        Ok(self.order.how == How::Import)
    }

    async fn lacks_bytes(&self, row: &Row) -> Result<Option<&'static str>, ImportRefusal> {
        let Some(blob) = row.id("blob").filter(|_| row.table.name == "files") else { return Ok(None) };
        let size = self.parts.files.size_of(blob).await.map_err(anyhow::Error::from)?;
        Ok(match size {
            None => Some("its bytes are not here"),
            Some(size) if i64::try_from(size).ok() != row.whole("size") => {
                Some("its bytes are not as many as it says")
            }
            Some(_) => None,
        })
    }

    /// What a row that is there becomes; none if it stays.
    fn compare(&mut self, held: &Row, row: Row) -> Result<Option<Change>, ImportRefusal> {
        let Some(change) = changed(held, row, self.order.how) else {
            self.count(held).equal += 1;
            return Ok(None);
        };
        if signed_out_by(&change).any(|user| self.is_caller(user)) {
            return Err(refused(
                held,
                change.columns[0],
                "would change how you sign in yourself, or what you may do",
            ));
        }
        self.may_give(&change.after, roles_of(held))?;
        Ok(Some(change))
    }

    /// Whoever is no admin gives nobody a role that they don't have themselves.
    fn may_give(&self, row: &Row, held: Roles) -> Result<(), ImportRefusal> {
        let own = self.order.options.by.as_ref().map(|by| by.caller.roles);
        let Some(own) = own.filter(|own| !own.has(Role::Admin)) else { return Ok(()) };
        let given = roles_of(row);
        let mut changed = STAFF.into_iter().filter(|role| given.has(*role) != held.has(*role));
        let beyond = changed.any(|role| !own.has(role));
        if row.table.name == "users" && beyond {
            return Err(refused(row, "roles", "would give or take a role that you don't have"));
        }
        Ok(())
    }

    /// Without rows whose names, addresses and the like are others' here: an import leaves them out; a recovery can't
    /// do what it was asked for.
    async fn without_doubles(
        &mut self,
        tx: &Tx,
        table: &'static Table,
        mut new: Vec<Row>,
        mut changes: Vec<Change>,
    ) -> Result<(Vec<Row>, Vec<Change>), ImportRefusal> {
        for unique in table.unique {
            let applies = |row: &&Row| unique.unless.is_none_or(|column| *row.cell(column) == Cell::Null);
            let concerned: Vec<Row> = new
                .iter()
                .chain(
                    changes
                        .iter()
                        // Whoever comes back to life takes their name back, too.
                        .filter(|change| {
                            change.touches(unique.columns) || change.touches(unique.unless.as_slice())
                        })
                        .map(|change| &change.after),
                )
                .filter(applies)
                .cloned()
                .collect();
            let mut holders = batch::holders(tx, table, unique, &concerned).await?;
            let mut taken: HashSet<Vec<Cell>> = HashSet::new();
            for row in concerned {
                let Some(values) = row.values_of(unique.columns) else { continue };
                let holder = holders.entry(values).or_insert_with(|| row.key().to_vec());
                if *holder == row.key() {
                    continue;
                }
                if self.order.how == How::Recover {
                    return Err(refused(
                        &row,
                        unique.columns[unique.columns.len() - 1],
                        "is another one's here",
                    ));
                }
                let words = format!("its {} is another one's here", unique.columns.join(" and "));
                self.leave_out(&row, &words);
                taken.insert(row.key().to_vec());
            }
            new.retain(|row| !taken.contains(row.key()));
            changes.retain(|change| !taken.contains(change.after.key()));
        }
        Ok((new, changes))
    }

    async fn add(&mut self, tx: &Tx, table: &'static Table, mut rows: Vec<Row>) -> Result<(), ImportRefusal> {
        let Some(first) = rows.first() else { return Ok(()) };
        self.count(first).added += rows.len() as u64;
        self.tell_of_more(tx, table, &rows).await?;
        if SIGNING_IN.contains(&table.name) {
            let owners = rows.iter().filter_map(|row| row.id("user_id"));
            self.signed_out.extend(owners.filter(|user| !self.added.contains(user)));
        }
        match table.name {
            "users" => {
                batch::continue_sequences(tx, &mut rows).await?;
                batch::insert(tx, table, &rows).await?;
                let people: Vec<_> = rows.iter().map(person::of).collect();
                self.added.extend(people.iter().map(|person| person.id));
                for row in &rows {
                    self.promote(row.id("id").unwrap_or_default(), Rights::default(), rights_of(row));
                }
                for person in &people {
                    tx.touch_profile(person.id);
                }
                self.parts.users.tell_of_added_in(tx, &people, &self.origin()).await?;
            }
            "files" => batch::insert_files(tx, table, rows).await?,
            "file_links" => batch::insert_links(tx, &rows).await?,
            _ => batch::insert(tx, table, &rows).await?,
        }
        Ok(())
    }

    /// Tells what accounts that were there before come to have.
    async fn tell_of_more(&self, tx: &Tx, table: &Table, rows: &[Row]) -> Result<(), ImportRefusal> {
        let (origin, column) = match table.name {
            "external_accounts" => (self.origin(), "user_id"),
            "files" => (self.origin(), "picture_of"),
            _ => return Ok(()),
        };
        for row in rows {
            let Some(user) = row.id(column).filter(|user| !self.added.contains(user)) else { continue };
            match row.text("provider") {
                Some(provider) => self.parts.oauth.tell_of_linked_in(tx, user, provider, &origin).await?,
                None => self.parts.users.tell_in(tx, user, &UserUpdated::image(true), &origin).await?,
            }
        }
        Ok(())
    }

    async fn change(&mut self, tx: &Tx, mut change: Change) -> Result<(), ImportRefusal> {
        let users = change.after.table.name == "users";
        let signed_out: Vec<Uuid> = signed_out_by(&change).collect();
        if users {
            person::move_on(
                &mut change,
                !signed_out.is_empty(),
                self.order.how,
                self.parts.ground.clock.now(),
            );
        }
        self.signed_out.extend(signed_out);
        batch::update(tx, &change).await?;
        if users {
            let (before, after) = (person::of(&change.before), person::of(&change.after));
            self.promote(after.id, rights_of(&change.before), rights_of(&change.after));
            if before.otp_method != Method::None && after.otp_method == Method::None {
                self.bared.push(after.id);
            }
            tx.touch(after.id);
            self.parts.users.tell_of_moved_in(tx, &before, &after, &self.origin()).await?;
        } else {
            for user in change.after.table.users.iter().filter_map(|column| change.after.id(column)) {
                tx.touch_profile(user);
            }
        }
        match self.order.how {
            How::Import => self.count(&change.after).filled += 1,
            How::Recover => self.count(&change.after).overwritten += 1,
        }
        Ok(())
    }

    /// Accounts whose second factor was left out have none, so that their owners get in and set another one up. They are
    /// told: until then the password alone is enough.
    async fn unlock(&self, tx: &Tx) -> Result<(), ImportRefusal> {
        for users in self.unlocked.chunks(BATCH) {
            let unlocked = batch::unlock(tx, users).await?;
            for user in users {
                tx.touch(*user);
            }
            self.parts.users.tell_of_lost_factors_in(tx, &unlocked, &self.origin()).await?;
            letters::second_factors_gone(tx, &self.parts, &unlocked).await?;
        }
        Ok(())
    }

    /// Those who were added without the second factor that they had are told, too, and those who were here and lost theirs.
    async fn tell_without_factor(&self, tx: &Tx) -> Result<(), ImportRefusal> {
        let added = self.order.without_factor.iter().copied().filter(|user| self.added.contains(user));
        let told: Vec<Uuid> = added.chain(self.bared.iter().copied()).collect();
        for users in told.chunks(BATCH) {
            letters::second_factors_gone(tx, &self.parts, users).await?;
        }
        Ok(())
    }

    /// Who asks for it; none: the operator.
    fn mover(&self) -> Option<Uuid> {
        self.order.options.by.as_ref().map(Mover::user)
    }

    fn is_caller(&self, user: Uuid) -> bool {
        self.mover() == Some(user)
    }

    fn origin(&self) -> Origin {
        Origin { by: self.mover(), ..Origin::default() }
    }

    fn count(&mut self, row: &Row) -> &mut TableCounts {
        self.counts.entry(row.table.name).or_default()
    }

    fn leave_out(&mut self, row: &Row, why: &str) {
        let counts = self.count(row);
        counts.left_out += 1;
        if counts.notes.len() < NOTES {
            counts.notes.push(format!("{}: {why}", row.name()));
        }
    }
}

impl Promotion {
    /// What stands in the log of what staff did.
    fn entry(&self, by: Option<Uuid>, action: &'static str) -> Entry {
        let subject = Subject::User(self.user);
        let entry = match by {
            Some(by) => Entry::by(by, action, subject),
            None => Entry::by_operator(action, subject),
        };
        entry
            .with("from", self.before.roles.names().join(", "))
            .with("to", self.after.roles.names().join(", "))
            .with("active", self.after.active)
    }
}

fn refused(row: &Row, column: &'static str, words: &'static str) -> ImportRefusal {
    ImportRefusal::Row { table: row.table.name, row: row.name(), flaw: Flaw::new(column, words) }
}

fn ids_of(rows: &[Row]) -> HashSet<Uuid> {
    rows.iter().filter_map(|row| row.id("id")).collect()
}

/// Whose sessions end by a change: those whose rights it concerns, or how they sign in.
fn signed_out_by(change: &Change) -> impl Iterator<Item = Uuid> {
    let (before, after) = (&change.before, &change.after);
    let column = match after.table.name {
        "users" if change.touches(&STANDING) => "id",
        name if SIGNING_IN.contains(&name) && change.touches(&["user_id", "subject", "sealed_seed"]) => {
            "user_id"
        }
        _ => "",
    };
    [before.id(column), after.id(column)].into_iter().flatten()
}

fn roles_of(row: &Row) -> Roles {
    Roles::from_bits(row.whole("roles").and_then(|bits| i32::try_from(bits).ok()).unwrap_or_default())
}

/// What the account of a row may do. Who is deleted may do nothing.
fn rights_of(row: &Row) -> Rights {
    if *row.cell("deleted_at") != Cell::Null {
        return Rights::default();
    }
    let roles = roles_of(row);
    Rights {
        roles: STAFF.into_iter().filter(|role| roles.has(*role)).collect(),
        active: row.flag("is_active"),
    }
}
