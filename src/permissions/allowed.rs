//! The permission in a handler's signature.

use super::Action;

/// What a handler needs the caller to be allowed to do. A unit type beside the handler, named in its signature:
///
/// ```
/// use gatehouse::permissions::{Action, Permission};
///
/// struct BanUser;
///
/// impl Permission for BanUser {
///     const ACTION: Action = Action::UserBan;
/// }
/// ```
pub trait Permission: Send + Sync + 'static {
    /// The action that is decided on.
    const ACTION: Action;
}
