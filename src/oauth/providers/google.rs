//! Google: <https://developers.google.com/identity/openid-connect/openid-connect>.

use super::super::reading::standard_claims;
use super::{Protocol, Provider};

pub const GOOGLE: Provider = Provider {
    name: "google",
    shown_name: "Google",
    scopes: "openid email profile",
    // Without it the token can't be given back once its hour is over.
    parameters: &[("access_type", "offline")],
    protocol: Protocol::OpenId { issuer: "https://accounts.google.com", revoke: None },
    read: standard_claims,
    pictures: &[".googleusercontent.com"],
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read() {
        let said = (GOOGLE.read)(&json!({
            "sub": "110169484474386276334", "name": "Jane Doe", "given_name": "Jane", "family_name": "Doe",
            "picture": "https://lh3.googleusercontent.com/a/ACg8ocK=s96-c", "email": "jane@example.com",
            "email_verified": true, "locale": "en", "hd": "example.com",
        }));
        let said = said.unwrap();
        assert_eq!((&*said.subject, said.username.as_deref()), ("110169484474386276334", None));
        assert_eq!((said.email.as_deref(), said.email_verified), (Some("jane@example.com"), true));
        assert_eq!(said.display_name.as_deref(), Some("Jane Doe"));
        assert!(crate::platform::fetch::is_at(&said.picture_url.unwrap(), GOOGLE.pictures));
    }
}
