//! Twitch: <https://dev.twitch.tv/docs/authentication/getting-tokens-oidc/>.

use serde_json::Value;

use super::super::ProviderFault;
use super::super::reading::{Said, standard_claims};
use super::{Protocol, Provider};

pub const TWITCH: Provider = Provider {
    name: "twitch",
    shown_name: "Twitch",
    scopes: "openid user:read:email",
    // What it tells beyond the id has to be named.
    parameters: &[(
        "claims",
        r#"{"userinfo":{"email":null,"email_verified":null,"picture":null,"preferred_username":null}}"#,
    )],
    protocol: Protocol::OpenId {
        issuer: "https://id.twitch.tv/oauth2",
        revoke: Some("https://id.twitch.tv/oauth2/revoke"),
    },
    read,
    pictures: &["static-cdn.jtvnw.net"],
};

/// What Twitch calls the preferred user name is what people are shown as.
fn read(claims: &Value) -> Result<Said, ProviderFault> {
    let said = standard_claims(claims)?;
    Ok(Said { display_name: said.username.clone(), ..said })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read() {
        let said = read(&json!({
            "aud": "9fn4nebd8q5ql0q0ogcl", "azp": "9fn4nebd8q5ql0q0ogcl", "exp": 1_700_000_000,
            "iss": "https://id.twitch.tv/oauth2", "sub": "713936733", "email": "scott@example.com",
            "email_verified": true, "preferred_username": "ScottTheDev",
            "picture": "https://static-cdn.jtvnw.net/user-default-pictures-uv/41780b5a-profile_image-300x300.png",
            "updated_at": "2022-03-31T22:47:17.219Z",
        }));
        let said = said.unwrap();
        assert_eq!((&*said.subject, said.display_name.as_deref()), ("713936733", Some("ScottTheDev")));
        assert_eq!((said.email.as_deref(), said.email_verified), (Some("scott@example.com"), true));
        assert!(crate::platform::fetch::is_at(&said.picture_url.unwrap(), TWITCH.pictures));
    }
}
