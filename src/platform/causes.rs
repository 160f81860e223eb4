//! What led to an error.

use std::error::Error;

/// The error, what caused it, what caused that, and so on.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What the error and its causes say, in their order. Many errors say themselves what caused them: that is not said twice.
#[must_use]
pub fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |words, cause| {
        let cause = cause.to_string();
        if words.ends_with(&cause) { words } else { words + ": " + &cause }
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use sea_orm::{DbErr, RuntimeErr};

    use super::*;

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let cause = || sqlx::Error::Io(io::Error::other("the disk is full"));
        let error = anyhow::Error::from(DbErr::Exec(RuntimeErr::SqlxError(cause().into())));
        assert_eq!(told(&error).matches("the disk is full").count(), 1, "{}", told(&error));
        assert!(told(&error).starts_with("Execution Error: "), "{}", told(&error));
    }

    #[test]
    fn a_cause_that_was_not_told_is() {
        let error = anyhow::Error::from(io::Error::other("the disk is full")).context("the mails stay");
        assert_eq!(told(&error), "the mails stay: the disk is full");
        assert_eq!(told(&anyhow::anyhow!("alone")), "alone");
    }
}
