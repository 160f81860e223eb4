//! How a part of the server does, as readiness reports it.

use std::fmt;

/// The state of a part; a worse one is greater, and the worst of all parts is that of the server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartState {
    /// It does its work.
    Good,
    /// It works, but somebody should look: why.
    Degraded(String),
    /// It can't do its work, and so the server can't.
    Unavailable,
}

impl PartState {
    /// Good, unless there is a reason to look.
    #[must_use]
    pub fn with(trouble: Option<impl fmt::Display>) -> Self {
        trouble.map_or(Self::Good, |trouble| Self::Degraded(trouble.to_string()))
    }

    /// The word for it: `ok`, `degraded` or `unavailable`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Degraded(_) => "degraded",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The word, and why.
impl fmt::Display for PartState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())?;
        match self {
            Self::Degraded(why) => write!(out, ": {why}"),
            Self::Good | Self::Unavailable => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_state_is_the_greatest_and_says_why() {
        let degraded = PartState::with(Some("no room"));
        let states = [PartState::with(None::<&str>), degraded.clone(), PartState::Unavailable];
        assert!(states.is_sorted());
        assert_eq!(states.map(|state| state.to_string()), ["ok", "degraded: no room", "unavailable"]);
        assert_eq!(degraded.word(), "degraded");
    }
}
