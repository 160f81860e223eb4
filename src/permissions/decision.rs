//! The answer to who may do what.

/// The answer to who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

impl Decision {
    /// Whether they may.
    #[must_use]
    pub const fn is_allow(self) -> bool {
        matches!(self, Self::Allow)
    }

    /// Allowed is what Cedar allows without a mishap. A policy that can't be evaluated is passed over by Cedar; if
    /// it was a `forbid`, that would allow what it forbids.
    pub(super) fn from_cedar(response: &cedar_policy::Response) -> Self {
        if let Some(error) = response.diagnostics().errors().next() {
            tracing::error!(%error, "a policy could not be evaluated: denied");
            return Self::Deny;
        }
        match response.decision() {
            cedar_policy::Decision::Allow => Self::Allow,
            cedar_policy::Decision::Deny => Self::Deny,
        }
    }
}
