//! Reddit: <https://github.com/reddit-archive/reddit/wiki/OAuth2>. It gives no address.

use serde_json::Value;
use url::Url;

use super::super::ProviderFault;
use super::super::reading::{Said, subject, text};
use super::{ClientProof, Endpoints, Protocol, Provider, Revoke};

pub const REDDIT: Provider = Provider {
    name: "reddit",
    shown_name: "Reddit",
    scopes: "identity",
    // Without it the token can't be given back once its hour is over.
    parameters: &[("duration", "permanent")],
    protocol: Protocol::OAuth(Endpoints {
        authorize: "https://www.reddit.com/api/v1/authorize",
        token: "https://www.reddit.com/api/v1/access_token",
        profile: "https://oauth.reddit.com/api/v1/me",
        emails: None,
        revoke: Revoke::Standard("https://www.reddit.com/api/v1/revoke_token"),
        proof: ClientProof::Basic,
    }),
    read,
    pictures: &["styles.redditmedia.com", "i.redd.it", "preview.redd.it"],
};

/// `has_verified_email` says that there is an address, not which.
fn read(profile: &Value) -> Result<Said, ProviderFault> {
    Ok(Said {
        subject: subject(profile, "id")?,
        username: text(profile, "name"),
        display_name: text(&profile["subreddit"], "title"),
        email: None,
        email_verified: false,
        locale: None,
        picture_url: picture(profile),
    })
}

/// Addresses are written for HTML.
fn picture(profile: &Value) -> Option<Url> {
    Url::parse(&text(profile, "icon_img")?.replace("&amp;", "&")).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read() {
        let said = read(&json!({
            "id": "5dk3f", "name": "spez", "has_verified_email": true, "email": "spez@victim.example",
            "icon_img": "https://styles.redditmedia.com/t5_3k30p/styles/profileIcon.png?width=256&amp;s=1",
            "subreddit": {"title": "Steve", "display_name": "u_spez"}, "created_utc": 1_118_030_400.0,
        }));
        let expected = Said {
            subject: "5dk3f".into(),
            username: Some("spez".into()),
            display_name: Some("Steve".into()),
            email: None,
            email_verified: false,
            locale: None,
            picture_url: "https://styles.redditmedia.com/t5_3k30p/styles/profileIcon.png?width=256&s=1"
                .parse()
                .ok(),
        };
        assert_eq!(said, Ok(expected));
    }
}
