//! The flags as they are for the caller: `GET /flags`.

use serde_json::json;

use super::{set, told};
use crate::harness::TestApp;

#[tokio::test]
async fn who_is_not_signed_in_learns_only_what_is_on() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let rules = json!([{"percentageOfUsers": 1, "userRoles": ["tester"]}]);
    set(&admin, json!({"on": true, "off": false, "some": rules})).await.is(200);
    let flags = app.get("/api/flags").await.is(200).json();
    assert!(flags.as_object().unwrap().values().all(serde_json::Value::is_boolean), "{flags}");
    assert_eq!((&flags["on"], &flags["off"], &flags["some"]), (&json!(true), &json!(false), &json!(false)));
    assert_eq!((&flags["READ_USERS_ME"], &flags["LOGOUT"]), (&json!(true), &json!(true)));
    app.with_bearer("x").get("/api/flags").await.refused(401, "token_invalid");
}

#[tokio::test]
async fn who_is_signed_in_learns_which_rule_decided() {
    let app = TestApp::new().await;
    let (admin, ann, tester) = (app.admin().await, app.user("ann").await, app.tester().await);
    let rules = json!([{"percentageOfUsers": 0}, {"userRoles": ["tester", "admin"]}]);
    set(&admin, json!({"on": true, "off": false, "some": rules, "LOGIN": false})).await.is(200);
    let rule = json!({"userRoles": ["admin", "tester"]});
    for (who, flag, enabled, reason, rule) in [
        (&ann, "on", true, "switch", json!(null)),
        (&ann, "off", false, "switch", json!(null)),
        (&ann, "some", false, "no_rule", json!(null)),
        (&tester, "some", true, "rule", rule.clone()),
        (&admin, "some", true, "rule", rule),
        (&ann, "LOGIN", false, "switch", json!(null)),
        (&admin, "LOGIN", true, "admin", json!(null)),
    ] {
        let told = told(who, flag).await;
        assert_eq!(
            (&told["enabled"], &told["reason"], &told["rule"]),
            (&json!(enabled), &json!(reason), &rule),
            "{flag} for {}",
            who.name
        );
        assert!(told["explanation"].as_str().is_some_and(|words| words.ends_with('.')));
    }
}
