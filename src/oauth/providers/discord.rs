//! Discord: <https://docs.discord.com/developers/topics/oauth2>.

use serde_json::Value;
use url::Url;

use super::super::ProviderFault;
use super::super::reading::{Said, email, subject, text};
use super::{ClientProof, Endpoints, Protocol, Provider, Revoke};

pub const DISCORD: Provider = Provider {
    name: "discord",
    shown_name: "Discord",
    scopes: "identify email",
    parameters: &[],
    protocol: Protocol::OAuth(Endpoints {
        authorize: "https://discord.com/oauth2/authorize",
        token: "https://discord.com/api/oauth2/token",
        profile: "https://discord.com/api/users/@me",
        emails: None,
        revoke: Revoke::Standard("https://discord.com/api/oauth2/token/revoke"),
        proof: ClientProof::Form,
    }),
    read,
    pictures: &["cdn.discordapp.com"],
};

fn read(profile: &Value) -> Result<Said, ProviderFault> {
    let subject = subject(profile, "id")?;
    let (email, email_verified) = email(profile, "email", "verified");
    Ok(Said {
        username: text(profile, "username"),
        display_name: text(profile, "global_name"),
        email,
        email_verified,
        locale: text(profile, "locale"),
        picture_url: picture(profile, &subject),
        subject,
    })
}

/// The picture is told as a hash, from which the address is made.
fn picture(profile: &Value, subject: &str) -> Option<Url> {
    let hash = text(profile, "avatar")?;
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let address = format!("https://cdn.discordapp.com/avatars/{subject}/{hash}.png?size=256");
    (plain(&hash) && plain(subject)).then(|| Url::parse(&address).ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read() {
        let said = read(&json!({
            "id": "80351110224678912", "username": "nelly", "discriminator": "0", "global_name": "Nelly",
            "avatar": "8342729096ea3675442027381ff50dfe", "verified": true, "email": "nelly@discord.com",
            "flags": 64, "banner": null, "accent_color": 16_711_680, "premium_type": 1, "locale": "en-US",
            "avatar_decoration_data": {"sku_id": "1144058844004233369", "asset": "a_fed43ab12698df65902ba06727e20c0e"},
        }));
        let picture = "https://cdn.discordapp.com/avatars/80351110224678912/8342729096ea3675442027381ff50dfe.png?size=256";
        let expected = Said {
            subject: "80351110224678912".into(),
            username: Some("nelly".into()),
            display_name: Some("Nelly".into()),
            email: Some("nelly@discord.com".into()),
            email_verified: true,
            locale: Some("en-US".into()),
            picture_url: Url::parse(picture).ok(),
        };
        assert_eq!(said, Ok(expected));
    }

    #[test]
    fn a_hash_that_is_none_makes_no_address() {
        for hash in ["../../x", "a/b", "a?b", "a#b", "", "a b"] {
            assert_eq!(read(&json!({"id": "1", "avatar": hash})).unwrap().picture_url, None, "{hash}");
        }
        assert_eq!(read(&json!({"id": "1/2", "avatar": "abc"})).unwrap().picture_url, None);
    }
}
