//! Letters to people about what an import did to their account.

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::Parts;
use crate::mail::{Languages, Letter, Occasion, Post};
use crate::platform::db::Tx;
use crate::users::store::user;

/// Tells people, in the transaction of the import, that their second factor is gone; a few hundred at once.
pub(super) async fn second_factors_gone(tx: &Tx, parts: &Parts, people: &[Uuid]) -> Result<(), DbErr> {
    if people.is_empty() {
        return Ok(());
    }
    let of_people = user::Column::Id.is_in(people.iter().copied());
    for user in user::Entity::find().filter(of_people).all(tx).await? {
        let is_reached = user.email_verified && user.deleted_at.is_none();
        let Some(to) = user.email.filter(|_| is_reached) else { continue };
        let letter = Letter::SecondFactorChanged { username: user.username, method: "none".to_owned() };
        let post = Post {
            to,
            user_id: Some(user.id),
            languages: Languages { locale: user.locale, accept_language: None },
            letter,
            good_until: None,
            occasion: Occasion::of_the_program(parts.ground.clock.now(), None),
        };
        parts.mail.post_in(tx, post).await?;
    }
    Ok(())
}
