//! How many people there are, and how they are. Reads every row: for whoever remembers the answer.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, Statement};

use super::Users;
use crate::platform::clock::Timestamp;
use crate::sessions::{Role, Roles};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// How many people there are, and how they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Accounts that may be used.
    pub active: u64,
    /// Accounts that are banned or switched off.
    pub banned: u64,
    /// Accounts that are deleted and can still be restored.
    pub deleted: u64,
    /// Of the active ones: those with an address that is proved.
    pub verified: u64,
    /// Of the active ones: those with a second factor.
    pub second_factor: u64,
    /// Of the active ones: those with each role. Somebody with two counts for both.
    pub roles: Vec<(Role, u64)>,
}

/// Accounts that are alike.
#[derive(Clone, Debug, FromQueryResult)]
struct Alike {
    roles: i32,
    active: i32,
    gone: i32,
    proved: i32,
    second: i32,
    people: i64,
}

/// Accounts made on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromQueryResult)]
pub struct MadeOn {
    /// The day, in days since the Unix epoch.
    pub day: i64,
    /// How many.
    pub people: i64,
}

impl Users {
    /// How many people there are, and how they are.
    pub async fn census(&self) -> Result<Census, DbErr> {
        let sql = "SELECT roles, CASE WHEN is_active THEN 1 ELSE 0 END AS active, \
                   CASE WHEN deleted_at IS NULL THEN 0 ELSE 1 END AS gone, \
                   CASE WHEN email_verified THEN 1 ELSE 0 END AS proved, \
                   CASE WHEN otp_method = 'none' THEN 0 ELSE 1 END AS second, COUNT(*) AS people \
                   FROM users GROUP BY 1, 2, 3, 4, 5";
        let reader = self.db.reader();
        let statement = Statement::from_string(reader.get_database_backend(), sql);
        let mut census = Census { roles: Role::ALL.map(|role| (role, 0)).into(), ..Census::default() };
        Alike::find_by_statement(statement).all(reader).await?.iter().for_each(|alike| census.add(alike));
        Ok(census)
    }

    /// How many accounts were made on each day since this one, as far as they are still there; days without any are left
    /// out.
    pub async fn made_since(&self, day: i64) -> Result<Vec<MadeOn>, DbErr> {
        let sql = "SELECT created_at / 86400000 AS day, COUNT(*) AS people FROM users WHERE created_at >= $1 \
                   GROUP BY 1 ORDER BY 1";
        let reader = self.db.reader();
        let values = [day.saturating_mul(DAY).into()];
        let statement = Statement::from_sql_and_values(reader.get_database_backend(), sql, values);
        MadeOn::find_by_statement(statement).all(reader).await
    }
}

/// The day of a moment, in days since the Unix epoch.
#[must_use]
pub const fn day_of(moment: Timestamp) -> i64 {
    moment.millis().div_euclid(DAY)
}

impl Census {
    fn add(&mut self, alike: &Alike) {
        let people = alike.people.unsigned_abs();
        if alike.gone == 1 {
            self.deleted += people;
            return;
        }
        if alike.active == 0 {
            self.banned += people;
            return;
        }
        self.active += people;
        if alike.proved == 1 {
            self.verified += people;
        }
        if alike.second == 1 {
            self.second_factor += people;
        }
        let roles = Roles::from_bits(alike.roles);
        self.roles.iter_mut().filter(|(role, _)| roles.has(*role)).for_each(|(_, count)| *count += people);
    }
}
