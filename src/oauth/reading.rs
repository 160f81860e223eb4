//! Reading what a provider says of somebody: tolerant of what is missing, strict about what decides.

use serde_json::Value;
use url::Url;

use super::ProviderFault;

/// The longest text of a provider that is kept, in characters: beyond it is not said at all.
const LONGEST: usize = 1024;
/// RFC 5321, 4.5.3.1.3, less the angle brackets.
const LONGEST_ADDRESS: usize = 254;

/// What a provider says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Their id, which never changes and is never given to another.
    pub subject: String,
    /// Their name.
    pub username: Option<String>,
    /// What they are shown as.
    pub display_name: Option<String>,
    /// Their address.
    pub email: Option<String>,
    /// Whether it was proved.
    pub email_verified: bool,
    /// Their language.
    pub locale: Option<String>,
    /// Their picture.
    pub picture_url: Option<Url>,
}

/// The id that stands in `field`: a text, or a whole number.
pub fn subject(value: &Value, field: &str) -> Result<String, ProviderFault> {
    let subject = match &value[field] {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() => number.to_string(),
        _ => String::new(),
    };
    let is_plain = subject.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if (1..=255).contains(&subject.len()) && is_plain {
        return Ok(subject);
    }
    Err(ProviderFault::Odd("no subject"))
}

/// The text that stands in `field`; none where it is empty, too long, or no text.
pub fn text(value: &Value, field: &str) -> Option<String> {
    let text = value[field].as_str()?.trim();
    let fits = !text.is_empty() && text.chars().nth(LONGEST).is_none();
    (fits && !text.contains('\0')).then(|| text.to_owned())
}

/// The address that stands in `field`, and whether `verified` is `true`: the JSON word, and nothing that looks like it.
pub fn email(value: &Value, field: &str, verified: &str) -> (Option<String>, bool) {
    let email = text(value, field).filter(|email| {
        let plain = !email.chars().any(|c| c.is_control() || c.is_whitespace());
        plain && email.len() <= LONGEST_ADDRESS && email.contains('@')
    });
    let is_verified = email.is_some() && value[verified] == Value::Bool(true);
    (email, is_verified)
}

/// The address of a picture that stands in `field`.
pub fn picture(value: &Value, field: &str) -> Option<Url> {
    Url::parse(&text(value, field)?).ok()
}

/// What the standard claims of OpenID Connect say (OpenID Connect Core, 5.1).
pub fn standard_claims(claims: &Value) -> Result<Said, ProviderFault> {
    let (email, email_verified) = email(claims, "email", "email_verified");
    Ok(Said {
        subject: subject(claims, "sub")?,
        username: text(claims, "preferred_username"),
        display_name: text(claims, "name"),
        email,
        email_verified,
        locale: text(claims, "locale"),
        picture_url: picture(claims, "picture"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subject_is_a_text_or_a_whole_number() {
        let of = |id: Value| subject(&json!({ "id": id }), "id").ok();
        assert_eq!(of(json!("80351110224678912")).as_deref(), Some("80351110224678912"));
        assert_eq!(of(json!(583_231)).as_deref(), Some("583231"));
        assert_eq!(of(json!("x".repeat(255))).map(|id| id.len()), Some(255));
        for none in [
            json!(""),
            json!("a b"),
            json!("a\n"),
            json!("x".repeat(256)),
            json!(1.5),
            json!(-1),
            json!(null),
            json!(true),
            json!(["1"]),
            json!({"id": "1"}),
        ] {
            assert_eq!(of(none.clone()), None, "{none}");
        }
        assert!(subject(&json!([]), "id").is_err() && subject(&json!("id"), "id").is_err());
    }

    //
    #[test]
    fn only_the_json_word_true_makes_an_address_verified() {
        let of = |verified: Value| {
            email(&json!({"email": "ann@example.com", "verified": verified}), "email", "verified")
        };
        assert_eq!(of(json!(true)), (Some("ann@example.com".into()), true));
        for lie in
            [json!("true"), json!(1), json!(null), json!([true]), json!({"verified": true}), json!(false)]
        {
            assert_eq!(of(lie.clone()), (Some("ann@example.com".into()), false), "{lie}");
        }
        assert!(!email(&json!({"email": "ann@example.com"}), "email", "verified").1);
        assert_eq!(email(&json!({"verified": true}), "email", "verified"), (None, false));
    }

    //
    #[test]
    fn hostile_texts_are_whole_or_not_at_all() {
        let of = |name: Value| text(&json!({ "name": name }), "name");
        assert_eq!(of(json!("  Ann ")).as_deref(), Some("Ann"));
        assert_eq!(of(json!("x".repeat(1024))).map(|text| text.len()), Some(1024));
        for none in [json!("x".repeat(1025)), json!(""), json!(" "), json!("a\0b"), json!(1), json!(["Ann"])]
        {
            assert_eq!(of(none.clone()), None, "{none}");
        }
        for email_of in ["ann", "ann @example.com", "ann@exam\nple.com", &format!("{}@a.b", "x".repeat(252))]
        {
            let said = json!({"email": email_of, "verified": true});
            assert_eq!(email(&said, "email", "verified"), (None, false), "{email_of}");
        }
    }
}
