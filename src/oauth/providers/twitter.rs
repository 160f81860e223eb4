//! X, once Twitter: <https://docs.x.com/resources/fundamentals/authentication/oauth-2-0/authorization-code>. It gives no
//! address.

use serde_json::Value;

use super::super::ProviderFault;
use super::super::reading::{Said, picture, subject, text};
use super::{ClientProof, Endpoints, Protocol, Provider, Revoke};

pub const TWITTER: Provider = Provider {
    name: "twitter",
    shown_name: "X",
    // users.read needs tweet.read; without offline.access the token can't be given back once its two hours are over.
    scopes: "users.read tweet.read offline.access",
    parameters: &[],
    protocol: Protocol::OAuth(Endpoints {
        authorize: "https://x.com/i/oauth2/authorize",
        token: "https://api.x.com/2/oauth2/token",
        profile: "https://api.x.com/2/users/me?user.fields=profile_image_url",
        emails: None,
        revoke: Revoke::Standard("https://api.x.com/2/oauth2/revoke"),
        proof: ClientProof::Basic,
    }),
    read,
    pictures: &["pbs.twimg.com"],
};

fn read(answer: &Value) -> Result<Said, ProviderFault> {
    let profile = &answer["data"];
    Ok(Said {
        subject: subject(profile, "id")?,
        username: text(profile, "username"),
        display_name: text(profile, "name"),
        email: None,
        email_verified: false,
        locale: None,
        picture_url: picture(profile, "profile_image_url"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read() {
        let said = read(&json!({"data": {
            "id": "2244994945", "name": "X Dev", "username": "XDevelopers",
            "profile_image_url": "https://pbs.twimg.com/profile_images/1283786620521652229/lEODkLTh_normal.jpg",
        }}));
        let said = said.unwrap();
        assert_eq!((&*said.subject, said.username.as_deref()), ("2244994945", Some("XDevelopers")));
        assert_eq!((said.email, said.display_name.as_deref()), (None, Some("X Dev")));
        assert_eq!(
            read(&json!({"errors": [{"title": "Unauthorized"}]})),
            Err(ProviderFault::Odd("no subject"))
        );
    }
}
