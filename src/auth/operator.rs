//! What the operator does from the command line for people who can't do it themselves.

use futures_util::FutureExt;
use sea_orm::DbErr;
use uuid::Uuid;

use super::Auth;
use crate::mail::{Languages, Letter, Occasion, Post};
use crate::otp::Method;
use crate::platform::db::Tx;
use crate::sessions::Ending;
use crate::users::store::{held, user};
use crate::users::{Deed, Origin};

impl Auth {
    /// Takes off the second factor of somebody who lost the device and the recovery codes. All their sessions end, and
    /// they are written to: it is for them to say if they never asked for it. `false`: there was none.
    pub async fn remove_second_factor(&self, user: Uuid) -> Result<bool, DbErr> {
        let auth = self.clone();
        let removed = self.db.write::<_, DbErr, _>(move |tx| {
            async move { auth.remove_second_factor_in(tx, user).await }.boxed()
        });
        removed.await
    }

    async fn remove_second_factor_in(&self, tx: &Tx, user: Uuid) -> Result<bool, DbErr> {
        let Some(user) = held(tx, user).await? else { return Ok(false) };
        if user.otp_method == Method::None {
            return Ok(false);
        }
        self.otp.take_off_in(tx, &user, &Origin::default()).await?;
        self.sessions.end_all(tx, user.id, None, Ending::SecondFactorChanged).await?;
        self.users.audit_operator_in(tx, user.id, Deed::SecondFactorChanged.name()).await?;
        let (username, method) = (user.username.clone(), Method::None.name().to_owned());
        self.tell_for_operator_in(tx, user, Letter::SecondFactorChanged { username, method }).await?;
        Ok(true)
    }

    /// Writes to somebody about what the operator did to their account.
    pub(super) async fn tell_for_operator_in(
        &self,
        tx: &Tx,
        user: user::Model,
        letter: Letter,
    ) -> Result<(), DbErr> {
        let Some(to) = user.email else { return Ok(()) };
        let post = Post {
            to,
            user_id: Some(user.id),
            languages: Languages { locale: user.locale, accept_language: None },
            letter,
            good_until: None,
            occasion: Occasion::of_the_program(self.clock.now(), None),
        };
        self.mail.post_in(tx, post).await.map(|_| ())
    }
}
