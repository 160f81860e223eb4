//! What the limit programs share: Gatehouse's allocator, the rows of its users, and the shape of a result.

pub mod durable;

use serde::Serialize;
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A row of Gatehouse's table `users`, without the password hash.
#[derive(Serialize, sqlx::FromRow)]
pub struct User {
    pub id: Uuid,
    pub username: String,
    pub display_name: String,
    pub email: Option<String>,
    pub email_verified: bool,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub middle_name: Option<String>,
    pub description: Option<String>,
    pub locale: Option<String>,
    pub roles: i32,
    pub is_active: bool,
    pub is_external_only: bool,
    pub metadata: String,
    pub token_version: i64,
    pub revision: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub deleted_at: Option<i64>,
}

/// The id of the made-up user number `number`, 1 being the first; its user name is [`username_of`] it.
pub fn id_of(number: u64) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(number))
}

/// The user name of the made-up user number `number`.
pub fn username_of(number: u64) -> String {
    format!("user_{number:07}")
}

/// A small generator of chance (xorshift64*): good enough to choose rows by, and free.
pub struct Chance(u64);

impl Chance {
    /// Each seed gives its own sequence.
    pub fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number from 1 to `most`.
    pub fn up_to(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % most.max(1) + 1
    }
}

/// The value below which `share` of the `sorted` values lie; 0 of none.
pub fn percentile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation)]
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(0)
}
