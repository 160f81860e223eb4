//! What other systems are told of accounts at providers.

use serde::Serialize;

use crate::events::Told;

/// An account at a provider signs in to one here.
#[derive(Debug, Serialize)]
pub(super) struct AccountLinked<'a> {
    /// The provider.
    pub(super) provider: &'a str,
}

impl Told for AccountLinked<'_> {
    const NAME: &'static str = "user.account_linked";
}

/// It no longer does.
#[derive(Debug, Serialize)]
pub(super) struct AccountUnlinked<'a> {
    /// The provider.
    pub(super) provider: &'a str,
}

impl Told for AccountUnlinked<'_> {
    const NAME: &'static str = "user.account_unlinked";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::type_named;

    #[test]
    fn whoever_listens_can_ask_for_each_type() {
        for name in [AccountLinked::NAME, AccountUnlinked::NAME] {
            assert_eq!(type_named(name), Some(name));
        }
    }
}
