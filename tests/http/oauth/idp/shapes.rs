//! How each provider writes who somebody is, as their documentation shows it.

use serde_json::{Value, json};

use super::Person;

/// Who the access token is of.
pub fn profile(provider: &str, person: &Person) -> Value {
    match provider {
        "discord" => discord(person),
        "github" => github(person),
        "reddit" => reddit(person),
        "twitter" => twitter(person),
        "twitch" => twitch(person),
        _ => standard(person),
    }
}

fn discord(person: &Person) -> Value {
    json!({
        "id": person.subject,
        "username": person.username,
        "discriminator": "0",
        "global_name": person.name,
        "avatar": person.picture,
        "banner": null,
        "accent_color": null,
        "locale": "en-US",
        "mfa_enabled": true,
        "premium_type": 0,
        "public_flags": 64,
        "verified": person.email_verified,
        "email": person.email,
    })
}

fn github(person: &Person) -> Value {
    let id: u64 = person.subject.parse().expect("ids of GitHub are numbers");
    json!({
        "login": person.username,
        "id": id,
        "node_id": "MDQ6VXNlcjE=",
        "avatar_url": person.picture,
        "gravatar_id": "",
        "type": "User",
        "site_admin": false,
        "name": person.name,
        "company": null,
        // Chosen by the person and proved by nobody.
        "email": "public@victim.example",
        "two_factor_authentication": true,
        "created_at": "2008-01-14T04:33:35Z",
    })
}

/// GitHub's list of addresses.
pub fn emails(person: &Person) -> Value {
    let noreply = format!("{}+{}@users.noreply.github.com", person.subject, person.username);
    let mut list = vec![json!({"email": noreply, "primary": false, "verified": true, "visibility": null})];
    if let Some(email) = &person.email {
        let verified = &person.email_verified;
        list.push(json!({"email": email, "primary": true, "verified": verified, "visibility": "private"}));
    }
    Value::Array(list)
}

fn reddit(person: &Person) -> Value {
    let id: u64 = person.subject.parse().expect("made of a number");
    json!({
        "id": format!("{id:x}"),
        "name": person.username,
        "icon_img": person.picture.as_ref().map(|picture| picture.replace('&', "&amp;")),
        "has_verified_email": true,
        "is_employee": false,
        "created_utc": 1_420_000_000.0,
        "subreddit": {"display_name": format!("u_{}", person.username), "title": person.name},
    })
}

fn twitter(person: &Person) -> Value {
    json!({"data": {
        "id": person.subject,
        "name": person.name,
        "username": person.username,
        "profile_image_url": person.picture,
    }})
}

fn twitch(person: &Person) -> Value {
    json!({
        "sub": person.subject,
        "preferred_username": person.name,
        "picture": person.picture,
        "email": person.email,
        "email_verified": person.email_verified,
    })
}

fn standard(person: &Person) -> Value {
    json!({
        "sub": person.subject,
        "name": person.name,
        "preferred_username": person.username,
        "picture": person.picture,
        "email": person.email,
        "email_verified": person.email_verified,
        "locale": "de",
    })
}
