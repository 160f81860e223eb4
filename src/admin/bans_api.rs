//! The operations that ban people, and lift bans.

use std::sync::Arc;

use poem_openapi::param::Path;
use poem_openapi::{Object, OpenApi, Tags};
use sea_orm::DbErr;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::permissions::{Account, Allowed, Context, Gate, Permission, Resource, Subject};
use crate::platform::problem::{Failure, FieldError};
use crate::platform::web::{ClientInfo, Json, JsonOrForm};
use crate::profiles::Target;
use crate::users::{BanRefusal, Judge, Origin, Reason, UnbanRefusal, Users};

/// The operations that ban people.
pub struct BansApi {
    /// Who has an account.
    pub users: Users,
    /// Who may do what.
    pub gate: Arc<Gate>,
}

#[derive(Tags)]
enum Section {
    /// The admin's tools.
    Admin,
}

crate::permissions! {
    /// Ban somebody.
    Ban: UserBan on Target;
    /// Lift a ban.
    Unban: UserUnban on Target;
}

/// Why.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct BanOrder {
    /// The reason, at most 1000 characters; the banned person is told it after a right password.
    #[serde(default)]
    #[oai(nullable)]
    pub reason: Option<String>,
}

/// What was done, by whom, to whom and why.
#[derive(Debug, Serialize, Object)]
pub struct BanAnswer {
    /// The user name of who did it.
    #[serde(rename = "Admin")]
    #[oai(rename = "Admin")]
    pub admin: String,
    /// `Banned` or `Unbanned`.
    #[serde(rename = "Action")]
    #[oai(rename = "Action")]
    pub action: String,
    /// The user name of whom it was done to.
    #[serde(rename = "User")]
    #[oai(rename = "User")]
    pub user: String,
    /// Why; empty if no reason was given.
    #[serde(rename = "Reason")]
    #[oai(rename = "Reason")]
    pub reason: String,
}

crate::refusals! {
    /// Why a ban is not imposed.
    pub enum BanUserRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
    and Ban(BanRefusal)
}

crate::refusals! {
    /// Why a ban is not lifted.
    pub enum UnbanUserRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
    and Unban(UnbanRefusal)
}

#[OpenApi(prefix_path = "/admin", tag = "Section::Admin")]
impl BansApi {
    /// Ban a user
    ///
    /// All sessions end at once, on every instance, and nothing that was sent or issued before works again. Moderators
    /// ban only users without the role admin or moderator. Nobody bans themselves, nor the last active admin.
    #[oai(path = "/ban/:user", method = "post", operation_id = "ban_user")]
    async fn ban(
        &self,
        allowed: Allowed<Ban>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        body: JsonOrForm<Option<BanOrder>>,
    ) -> Result<Json<BanAnswer>, Failure<BanUserRefusal>> {
        let reason = read(body.0).map_err(BanUserRefusal::Invalid)?;
        let (may, origin) = (self.judge(&allowed), Origin::of(&allowed.caller, &client));
        let user = self.users.ban(allowed.on.id(), reason.clone(), may, origin).await;
        let user = user.map_err(Failure::within)?;
        tracing::warn!(by = %allowed.caller.user_id, user_id = %user.id, "a user was banned");
        Ok(Json(self.answer(allowed.caller.user_id, "Banned", user.username, &reason).await?))
    }

    /// Lift a ban
    ///
    /// For admins. Who was signed in before the ban must sign in again.
    #[oai(path = "/unban/:user", method = "post", operation_id = "unban_user")]
    async fn unban(
        &self,
        allowed: Allowed<Unban>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        body: JsonOrForm<Option<BanOrder>>,
    ) -> Result<Json<BanAnswer>, Failure<UnbanUserRefusal>> {
        let reason = read(body.0).map_err(UnbanUserRefusal::Invalid)?;
        let (may, origin) = (self.judge(&allowed), Origin::of(&allowed.caller, &client));
        let user = self.users.unban(allowed.on.id(), reason.clone(), may, origin).await;
        let user = user.map_err(Failure::within)?;
        tracing::warn!(by = %allowed.caller.user_id, user_id = %user.id, "a ban was lifted");
        Ok(Json(self.answer(allowed.caller.user_id, "Unbanned", user.username, &reason).await?))
    }
}

impl BansApi {
    /// Asks again once the account is held: somebody may have made an admin of it meanwhile.
    fn judge<P: Permission<On = Target>>(&self, allowed: &Allowed<P>) -> Judge {
        let (gate, subject) = (Arc::clone(&self.gate), Subject::from(&allowed.caller));
        let (blocks, blocked) = (allowed.on.0.blocks_viewer, allowed.on.0.blocked_by_viewer);
        Box::new(move |user| {
            let account = Account { blocks_subject: blocks, blocked_by_subject: blocked, ..user.account() };
            gate.allows(&subject, P::ACTION, &Resource::Account(account), Context::default())
        })
    }

    async fn answer(
        &self,
        by: Uuid,
        action: &str,
        user: String,
        reason: &Reason,
    ) -> Result<BanAnswer, DbErr> {
        let admin = self.users.by_id(by).await?.map(|admin| admin.username).unwrap_or_default();
        Ok(BanAnswer { admin, action: action.to_owned(), user, reason: reason.to_string() })
    }
}

/// The reason is all that an order holds, and may be left out: so may the order.
fn read(order: Option<BanOrder>) -> Result<Reason, Vec<FieldError>> {
    let reason = Reason::parse(order.and_then(|order| order.reason).as_deref().unwrap_or_default());
    reason.map_err(|invalid| vec![FieldError::new("reason", invalid.into_words())])
}
