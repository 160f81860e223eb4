//! Which rows of an ordered list one answer reads.

use uuid::Uuid;

/// Oldest or newest first; where a list is sorted by a name, from the first letter on or from the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

impl Order {
    /// The other way round.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Asc => Self::Desc,
            Self::Desc => Self::Asc,
        }
    }

    /// In SQL: the direction, and what compares a row with one that it stands behind.
    #[must_use]
    pub const fn sql(self) -> (&'static str, &'static str) {
        match self {
            Self::Asc => ("ASC", ">"),
            Self::Desc => ("DESC", "<"),
        }
    }
}

impl From<Order> for sea_orm::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Asc => Self::Asc,
            Order::Desc => Self::Desc,
        }
    }
}

/// The rows to read, in the order of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span<M> {
    /// In which order.
    pub order: Order,
    /// The row behind which they begin; without it the list begins where it begins.
    pub after: Option<M>,
    /// Rows to leave out before the first.
    pub offset: u64,
    /// Rows at most.
    pub limit: u64,
}

impl Span<i64> {
    /// The number behind which they begin, if it is only one that no row has.
    #[must_use]
    pub fn begin(&self) -> i64 {
        let before_all = match self.order {
            Order::Asc => i64::MIN,
            Order::Desc => i64::MAX,
        };
        self.after.unwrap_or(before_all)
    }
}

/// What names a row of a list, so that the list finds the place again even if the row is gone.
pub trait Mark: Sized {
    /// For a cursor. The first byte is never 0xff.
    fn to_bytes(&self) -> Vec<u8>;

    /// Out of a cursor; `None` if it is of another kind of list.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// Numbers count from 1, so that the first byte is small.
impl Mark for i64 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().map(Self::from_be_bytes).ok()
    }
}

/// Ids begin with the time, so that the first byte is small until the year 10,000.
impl Mark for Uuid {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}
