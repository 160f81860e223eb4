//! Who may do what, and why: `POST /admin/permissions/check`.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Ask, TestApp};

const CHECK: &str = "/api/admin/permissions/check";

#[tokio::test]
async fn a_decision_comes_with_the_rules_that_made_it() {
    let app = TestApp::new().await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    let question = json!({"user": ann.id, "action": "user:read", "resource": bob.id});
    let answer = admin.post(CHECK).json(&question).await.is(200).json();
    assert_eq!((&answer["decision"], &answer["errors"]), (&json!("allow"), &json!([])));
    let policy = &answer["policies"][0];
    assert_eq!((&policy["id"], &policy["effect"]), (&json!("users-see-active-accounts"), &json!("permit")));
    assert!(!policy["description"].as_str().unwrap().is_empty());
    assert!(answer["attributes"].is_object());
}

#[tokio::test]
async fn the_default_rules_decide_as_the_contract_says() {
    let app = TestApp::new().await;
    let [ann, bob, tester] = [app.user("ann").await, app.user("bob").await, app.tester().await];
    let [moderator, admin] = [app.moderator().await, app.admin().await];
    let fields = |names: &[&str]| json!({"fields": names});
    let roles = |names: &[&str]| json!({"roles": names});
    let none = json!({});
    let nothing: Option<Uuid> = None;
    for (who, action, on, context, decision) in [
        (Some(ann.id), "user:read", Some(bob.id), &none, "allow"),
        (Some(ann.id), "user:update", Some(ann.id), &fields(&["display_name", "email"]), "allow"),
        (Some(ann.id), "user:update", Some(ann.id), &fields(&["metadata"]), "deny"),
        (Some(ann.id), "user:update", Some(bob.id), &fields(&["description"]), "deny"),
        (Some(ann.id), "user:delete", Some(ann.id), &none, "allow"),
        (Some(ann.id), "user:delete", Some(bob.id), &none, "deny"),
        (Some(ann.id), "user:list", nothing, &none, "deny"),
        (Some(ann.id), "docs:redoc", nothing, &none, "allow"),
        (Some(ann.id), "docs:swagger", nothing, &none, "deny"),
        (Some(tester.id), "user:read", Some(bob.id), &none, "allow"),
        (Some(moderator.id), "user:list", nothing, &none, "allow"),
        (Some(moderator.id), "user:create", nothing, &roles(&["user", "tester"]), "allow"),
        (Some(moderator.id), "user:create", nothing, &roles(&["moderator"]), "deny"),
        (Some(moderator.id), "user:ban", Some(ann.id), &none, "allow"),
        (Some(moderator.id), "user:ban", Some(admin.id), &none, "deny"),
        (Some(moderator.id), "user:ban", Some(moderator.id), &none, "deny"),
        (Some(moderator.id), "user:unban", Some(ann.id), &none, "deny"),
        (Some(moderator.id), "user:delete", Some(ann.id), &none, "deny"),
        (Some(moderator.id), "docs:swagger", nothing, &none, "deny"),
        (Some(admin.id), "user:delete", Some(ann.id), &none, "allow"),
        (Some(admin.id), "user:unban", Some(ann.id), &none, "allow"),
        (Some(admin.id), "user:set-active", Some(admin.id), &none, "deny"),
        (Some(admin.id), "user:set-roles", Some(admin.id), &roles(&["admin"]), "allow"),
        (Some(admin.id), "docs:swagger", nothing, &none, "allow"),
        (None, "user:read", Some(ann.id), &none, "deny"),
        (None, "user:read-image", Some(ann.id), &none, "allow"),
    ] {
        let question = json!({"user": who, "action": action, "resource": on, "context": context});
        let answer = admin.post(CHECK).json(&question).await.is(200).json();
        assert_eq!(answer["decision"], decision, "{question}: {answer}");
    }
}

/// Uploads a file by this request; its number.
async fn uploaded(ask: Ask) -> i64 {
    let form = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n--B--\r\n";
    let file = ask.body("multipart/form-data; boundary=B", form).await.ok().json();
    file["id"].as_i64().unwrap()
}

#[tokio::test]
async fn about_a_file_it_decides_as_the_act_itself_does() {
    let app = TestApp::new().await;
    let (ann, bob, tester) = (app.user("ann").await, app.user("bob").await, app.tester().await);
    let (moderator, admin) = (app.moderator().await, app.admin().await);
    let own = uploaded(ann.post("/api/file")).await;
    let linked = uploaded(admin.put(&format!("{}/file", bob.path()))).await;
    let ask = async |who: Uuid, action: &str, file: i64| {
        let question = json!({"user": who, "action": action, "resource": file});
        admin.post(CHECK).json(&question).await.is(200).json()
    };
    for file in [own, linked] {
        let path = format!("/api/file/{file}");
        for who in [&ann, &bob, &tester, &moderator, &admin] {
            let reading = who.get(&path).await.status();
            let changing = who.patch(&path).json(&json!({})).await.status();
            for (action, status) in [("file:read", reading), ("file:update", changing)] {
                let answer = ask(who.id, action, file).await;
                let decision = if status == 200 { "allow" } else { "deny" };
                assert_eq!(answer["decision"], decision, "{} {action} {file}: {answer}", who.id);
                assert_eq!(answer["errors"], json!([]), "{answer}");
                assert_eq!(answer["policies"] == json!([]), status != 200, "{answer}");
            }
        }
    }
    let answer = ask(bob.id, "file:read", linked).await;
    assert_eq!(answer["policies"][0]["id"], "users-read-their-files");
    let shown = &answer["attributes"]["resource"];
    let expected = json!({"type": "File", "id": linked, "linked_to_subject": true, "owner": shown["owner"]});
    assert_eq!((shown, &shown["owner"]["id"]), (&expected, &json!(admin.id)));

    assert_eq!(ask(ann.id, "file:delete", own).await["decision"], "allow");
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    let answer = ask(ann.id, "file:delete", own).await;
    assert_eq!(answer["policies"][0]["id"], "inactive-accounts-do-nothing", "{answer}");
    let nobody = json!({"action": "file:read", "resource": own});
    assert_eq!(admin.post(CHECK).json(&nobody).await.is(200).json()["decision"], "deny");
}

#[tokio::test]
async fn the_state_of_the_account_counts() {
    let app = TestApp::new().await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    let ask = async || {
        let question = json!({"user": ann.id, "action": "user:read", "resource": bob.id});
        admin.post(CHECK).json(&question).await.is(200).json()
    };
    bob.put(&format!("{}/blocked_users?users_ids={}", bob.path(), ann.id)).await.is(200);
    assert_eq!(ask().await["decision"], "deny");
    bob.put(&format!("{}/blocked_users", bob.path())).await.is(200);
    assert_eq!(ask().await["decision"], "allow");
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    let answer = ask().await;
    assert_eq!(answer["decision"], "deny");
    let named = |answer: &Value, id: &str| {
        answer["policies"].as_array().unwrap().iter().any(|policy| policy["id"] == id)
    };
    assert!(named(&answer, "inactive-accounts-do-nothing"), "{answer}");
}

#[tokio::test]
async fn what_does_not_exist_is_denied_with_the_reason() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    for question in [
        json!({"user": ann.id, "action": "user:explode"}),
        json!({"user": ann.id, "action": ""}),
        json!({"user": Uuid::nil(), "action": "user:read", "resource": ann.id}),
        json!({"user": ann.id, "action": "user:read", "resource": Uuid::nil()}),
        json!({"user": ann.id, "action": "file:read", "resource": 999_999}),
        json!({"user": admin.id, "action": "file:read", "resource": -1}),
        json!({"user": admin.id, "action": "file:read", "resource": admin.id}),
    ] {
        let answer = admin.post(CHECK).json(&question).await.is(200).json();
        assert_eq!(answer["decision"], "deny", "{question}");
        assert!(!answer["errors"].as_array().unwrap().is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn a_question_that_is_none_is_refused() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (question, field) in [
        (json!({}), "action"),
        (json!({"action": 7}), "action"),
        (json!({"action": "user:read", "user": "ann"}), "user"),
        (json!({"action": "user:read", "resource": "x"}), "resource"),
        (json!({"action": "file:read", "resource": "7"}), "resource"),
        (json!({"action": "file:read", "resource": 7.5}), "resource"),
        (json!({"action": "file:read", "resource": u64::MAX}), "resource"),
        (json!({"action": "file:read", "resource": [7]}), "resource"),
        (json!({"action": "user:update", "context": {"fields": ["password_hash"]}}), "context.fields"),
        (json!({"action": "user:create", "context": {"roles": ["root"]}}), "context.roles"),
        (json!({"action": "user:read", "context": {"more": 1}}), "context.more"),
        (json!({"action": "user:update", "context": [["username"], []]}), "context"),
        (json!({"action": "user:read", "more": 1}), "more"),
    ] {
        admin.post(CHECK).json(&question).await.invalid(&[field]);
    }
}

#[tokio::test]
async fn only_admins_ask() {
    let app = TestApp::new().await;
    let question = json!({"action": "user:list"});
    for other in [app.user("ann").await, app.tester().await, app.moderator().await] {
        other.post(CHECK).json(&question).await.refused(403, "forbidden");
    }
    app.post(CHECK).json(&question).await.refused(401, "token_invalid");
}
