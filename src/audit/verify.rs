//! Walking the chain.

use std::fmt;
use std::str::FromStr;

use sea_orm::{ConnectionTrait, DbErr};

use super::store::{self, End, Row};
use super::{Audit, Hash};

/// Rows that are read at once.
const STEP: i64 = 1000;

/// An end of the log, as it was noted down: `number:hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last row.
    pub number: i64,
    /// Its hash.
    pub hash: Hash,
}

impl fmt::Display for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.number, self.hash)
    }
}

/// The text is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a head is the number of a row, a colon and the 64 hexadecimal digits of its hash")]
pub struct NoHead;

impl FromStr for Head {
    type Err = NoHead;

    fn from_str(text: &str) -> Result<Self, NoHead> {
        let (number, hash) = text.split_once(':').ok_or(NoHead)?;
        let number = number.parse().ok().filter(|number| *number >= 0).ok_or(NoHead)?;
        Ok(Self { number, hash: hash.parse().map_err(|_| NoHead)? })
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Where the log ends, as far as it was found good.
    pub good: Head,
    /// The first thing that is not as it was written, if anything is.
    pub flaw: Option<Flaw>,
}

/// What is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// There is no row of this number, although there are later ones.
    Missing(i64),
    /// The row was changed, or others were put in front of it.
    Changed(i64),
    /// The row was written behind an end of the log that was not ours.
    Foreign(i64),
    /// The log was cut: its head speaks of rows up to the second number, and the first is the last that there is.
    Cut(i64, i64),
    /// There are rows behind the end that the head tells of.
    BeyondHead(i64),
    /// The head does not go with the last row, or somebody else has sealed it.
    Head,
    /// The head was taken away.
    NoHead,
    /// The log is not the one whose end was noted down, or was cut before it.
    Noted(i64),
}

impl fmt::Display for Flaw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(number) => write!(out, "row {number} is missing"),
            Self::Changed(number) => {
                write!(out, "row {number} is not as it was written, or follows another row than it did")
            }
            Self::Foreign(number) => {
                write!(out, "row {number} was written behind an end that this server had not sealed")
            }
            Self::Cut(last, head) => {
                write!(out, "the log was cut: its last row is {last}, and there were {head}")
            }
            Self::BeyondHead(number) => write!(out, "row {number} stands behind the end of the log"),
            Self::Head => out.write_str("the end of the log is not sealed by this server"),
            Self::NoHead => out.write_str("the end of the log is not told any more"),
            Self::Noted(number) => {
                write!(out, "the log is another than the one that was noted at row {number}")
            }
        }
    }
}

impl Audit {
    /// Walks the whole chain; `noted` is an end of it that was kept elsewhere. What is written meanwhile is not looked at.
    pub async fn verify(&self, noted: Option<Head>) -> Result<Verdict, DbErr> {
        let reader = self.db.reader();
        let end = store::end(reader).await?;
        let until = end.as_ref().map_or(i64::MAX, |end| end.number);
        let mut walk = Walk { good: Head { number: 0, hash: Hash::NOTHING }, noted };
        let mut flaw = walk.along(reader, until).await?;
        if flaw.is_none() {
            flaw = self.flaw_of_end(end, walk.good);
        }
        if flaw.is_none() {
            flaw =
                noted.filter(|noted| noted.number > walk.good.number).map(|noted| Flaw::Noted(noted.number));
        }
        Ok(Verdict { good: walk.good, flaw })
    }

    fn flaw_of_end(&self, end: Option<End>, good: Head) -> Option<Flaw> {
        let Some(end) = end else { return Some(Flaw::NoHead) };
        let last = end.last.unwrap_or(0);
        if last < end.number {
            return Some(Flaw::Cut(last, end.number));
        }
        if last > end.number {
            return Some(Flaw::BeyondHead(end.number + 1));
        }
        let hash = end.hash.as_deref().map_or(Some(Hash::NOTHING), Hash::from_bytes);
        let is_ours = self.is_sealed(end.number, end.hash.as_deref(), end.seal.as_deref());
        (hash != Some(good.hash) || !is_ours).then_some(Flaw::Head)
    }
}

struct Walk {
    good: Head,
    noted: Option<Head>,
}

impl Walk {
    async fn along(&mut self, db: &impl ConnectionTrait, until: i64) -> Result<Option<Flaw>, DbErr> {
        // From below the first number: what was put before the beginning is met, too.
        let mut from = i64::MIN;
        loop {
            let rows = store::between(db, from, until, STEP).await?;
            if rows.is_empty() {
                return Ok(None);
            }
            if let Some(flaw) = rows.iter().find_map(|row| self.step(row)) {
                return Ok(Some(flaw));
            }
            from = self.good.number + 1;
        }
    }

    fn step(&mut self, row: &Row) -> Option<Flaw> {
        if row.number < 1 {
            return Some(Flaw::Foreign(row.number));
        }
        if row.number != self.good.number + 1 {
            return Some(Flaw::Missing(self.good.number + 1));
        }
        let hash = Hash::of(&self.good.hash, row);
        if row.hash != hash.bytes() {
            return Some(Flaw::Changed(row.number));
        }
        if !row.follows_seal {
            return Some(Flaw::Foreign(row.number));
        }
        self.good = Head { number: row.number, hash };
        self.noted
            .filter(|noted| noted.number == row.number && noted.hash != hash)
            .map(|_| Flaw::Noted(row.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_back_and_nothing_else_is_one() {
        let head = Head { number: 7, hash: Hash::NOTHING };
        assert_eq!(head.to_string().parse(), Ok(head));
        let zeros = "0".repeat(64);
        for text in [
            "",
            "7",
            ":",
            &zeros,
            &format!("-1:{zeros}"),
            &format!("7:{}", &zeros[1..]),
            &format!("7:+{}", &zeros[1..]),
        ] {
            assert_eq!(text.parse::<Head>(), Err(NoHead), "{text}");
        }
    }
}
