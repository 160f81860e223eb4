//! GitHub: <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>.

use serde_json::Value;

use super::super::ProviderFault;
use super::super::reading::{Said, email, picture, text};
use super::{ClientProof, Endpoints, Protocol, Provider, Revoke};

pub const GITHUB: Provider = Provider {
    name: "github",
    shown_name: "GitHub",
    scopes: "read:user user:email",
    parameters: &[],
    protocol: Protocol::OAuth(Endpoints {
        authorize: "https://github.com/login/oauth/authorize",
        token: "https://github.com/login/oauth/access_token",
        profile: "https://api.github.com/user",
        emails: Some("https://api.github.com/user/emails"),
        revoke: Revoke::Delete("https://api.github.com/applications/{client_id}/token"),
        proof: ClientProof::Form,
    }),
    read,
    pictures: &["avatars.githubusercontent.com"],
};

/// Addresses that GitHub makes up, where no mail arrives.
const MADE_UP: &str = "@users.noreply.github.com";

/// The id is the number, never the name: names are given away again. `email` of the profile is what somebody typed, and
/// counts for nothing.
fn read(profile: &Value) -> Result<Said, ProviderFault> {
    let subject = profile["id"].as_u64().ok_or(ProviderFault::Odd("no subject"))?.to_string();
    let (email, email_verified) = primary(&profile["emails"]);
    Ok(Said {
        subject,
        username: text(profile, "login"),
        display_name: text(profile, "name"),
        email,
        email_verified,
        locale: None,
        picture_url: picture(profile, "avatar_url"),
    })
}

/// The primary address, if it is verified.
fn primary(emails: &Value) -> (Option<String>, bool) {
    let primary = emails.as_array().and_then(|list| list.iter().find(|entry| entry["primary"] == true));
    let (address, verified) = primary.map_or((None, false), |entry| email(entry, "email", "verified"));
    let address = address.filter(|address| verified && !address.to_ascii_lowercase().ends_with(MADE_UP));
    let verified = address.is_some();
    (address, verified)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(emails: &Value) -> Value {
        json!({
            "login": "octocat", "id": 583_231, "node_id": "MDQ6VXNlcjE=", "name": "The Octocat",
            "avatar_url": "https://avatars.githubusercontent.com/u/583231?v=4", "gravatar_id": "",
            "email": "typed@victim.example", "type": "User", "site_admin": false, "emails": emails,
        })
    }

    fn emails(list: &Value) -> (Option<String>, bool) {
        let said = read(&with(list)).unwrap();
        (said.email, said.email_verified)
    }

    #[test]
    fn an_answer_is_read() {
        let said = read(&with(&json!([
            {"email": "secondary@github.com", "verified": true, "primary": false, "visibility": null},
            {"email": "octocat@github.com", "verified": true, "primary": true, "visibility": "public"},
        ])));
        let expected = Said {
            subject: "583231".into(),
            username: Some("octocat".into()),
            display_name: Some("The Octocat".into()),
            email: Some("octocat@github.com".into()),
            email_verified: true,
            locale: None,
            picture_url: "https://avatars.githubusercontent.com/u/583231?v=4".parse().ok(),
        };
        assert_eq!(said, Ok(expected));
    }

    //
    #[test]
    fn only_the_primary_address_counts_and_only_verified() {
        let of = |email: &str, verified: Value, primary: Value| json!({"email": email, "verified": verified, "primary": primary});
        let secondary = of("secondary@github.com", json!(true), json!(false));
        for primary in [
            of("octocat@github.com", json!(false), json!(true)),
            of("octocat@github.com", json!("true"), json!(true)),
            of("octocat@github.com", json!(true), json!("true")),
            of("1+octocat@users.noreply.github.com", json!(true), json!(true)),
        ] {
            assert_eq!(emails(&json!([secondary, primary])), (None, false), "{primary}");
        }
        for no_list in [json!(null), json!([]), json!({}), json!("x"), json!([null, 1, []])] {
            assert_eq!(emails(&no_list), (None, false), "{no_list}");
        }
    }

    #[test]
    fn a_name_is_no_id() {
        for id in [json!("octocat"), json!("583231"), json!(null), json!(-1), json!(1.5)] {
            assert_eq!(read(&json!({"login": "octocat", "id": id})), Err(ProviderFault::Odd("no subject")));
        }
    }
}
