//! The OpenFeature Remote Evaluation Protocol, byte by byte where SDKs look.

use serde_json::{Value, json};
use uuid::Uuid;

use super::set;
use crate::harness::{Actor, TestApp};

const ALL: &str = "/ofrep/v1/evaluate/flags";

async fn evaluate(who: &Actor, flag: &str, context: Value) -> crate::harness::Reply {
    who.post(&format!("{ALL}/{flag}")).header("accept", "*/*").json(&json!({ "context": context })).await
}

#[tokio::test]
async fn a_flag_has_a_value_a_variant_and_a_reason() {
    let app = TestApp::new().await;
    let (admin, ann, tester) = (app.admin().await, app.user("ann").await, app.tester().await);
    let flags = json!({
        "on": true, "off": false, "half": [{"percentageOfUsers": 1}], "none": [{"percentageOfUsers": 0}],
        "testers": [{"percentageOfUsers": 0}, {"userRoles": ["tester"]}], "LOGIN": false,
    });
    set(&admin, flags).await.is(200);
    for (who, flag, value, reason, metadata) in [
        (&ann, "on", true, "STATIC", json!({"version": 2})),
        (&ann, "off", false, "STATIC", json!({"version": 2})),
        (&ann, "half", true, "SPLIT", json!({"version": 2, "rule": 0})),
        (&ann, "none", false, "DEFAULT", json!({"version": 2})),
        (&ann, "testers", false, "DEFAULT", json!({"version": 2})),
        (&tester, "testers", true, "TARGETING_MATCH", json!({"version": 2, "rule": 1})),
        (&ann, "LOGIN", false, "STATIC", json!({"version": 2})),
        (&admin, "LOGIN", true, "TARGETING_MATCH", json!({"version": 2})),
        (&ann, "LOGOUT", true, "STATIC", json!({"version": 2})),
    ] {
        let reply =
            evaluate(who, flag, json!({"targetingKey": who.id, "plan": {"any": ["thing", 1, null]}})).await;
        let variant = if value { "on" } else { "off" };
        let expected =
            json!({"key": flag, "value": value, "reason": reason, "variant": variant, "metadata": metadata});
        assert_eq!(reply.is(200).json(), expected);
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_the_words_of_the_protocol() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    set(&admin, json!({"some": [{"userRoles": ["user"]}]})).await.is(200);
    let own = json!({"targetingKey": ann.id});
    let told = |reply: &crate::harness::Reply, status: u16, code: &str, key: Value| {
        let problem = reply.is(status).json();
        assert_eq!((&problem["errorCode"], &problem["key"]), (&json!(code), &key), "{reply:?}");
        assert_eq!(problem["errorDetails"], problem["detail"]);
    };
    told(&evaluate(&ann, "nowhere", own).await, 404, "FLAG_NOT_FOUND", json!("nowhere"));
    for nobody in [json!({}), Value::Null, json!({"targetingKey": null}), json!({"targetingKey": ""})] {
        let reply = evaluate(&ann, "some", nobody).await;
        told(&reply, 400, "TARGETING_KEY_MISSING", json!("some"));
    }
    for bad in [json!("ann"), json!(1), json!(["x"]), json!({})] {
        let reply = evaluate(&ann, "some", json!({ "targetingKey": bad })).await;
        told(&reply, 400, "INVALID_CONTEXT", Value::Null);
    }
    told(&evaluate(&ann, "some", json!("x")).await, 400, "INVALID_CONTEXT", Value::Null);
    for broken in ["", "{", "nonsense", "{\"context\":{}"] {
        let reply = ann.post(ALL).body("application/json", broken).await;
        told(&reply, 400, "PARSE_ERROR", Value::Null);
        let reply = ann.post(&format!("{ALL}/some")).body("application/json", broken).await;
        told(&reply, 400, "PARSE_ERROR", Value::Null);
    }
    told(&ann.post(ALL).body("text/plain", "{}").await, 415, "PARSE_ERROR", Value::Null);
    // What needs nobody in particular has a value all the same.
    assert_eq!(evaluate(&ann, "REGISTER", json!({})).await.is(200).json()["value"], true);
    app.post(ALL).json(&json!({})).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn of_others_only_those_may_ask_who_have_the_permission() {
    let app = TestApp::new().await;
    let (admin, moderator, ann) = (app.admin().await, app.moderator().await, app.user("ann").await);
    let tester = app.tester().await;
    set(&admin, json!({"testers": [{"userRoles": ["tester"]}], "all": [{}]})).await.is(200);
    let value = |reply: crate::harness::Reply| reply.is(200).json()["value"].clone();
    for other in [&ann, &moderator] {
        let reply = evaluate(other, "testers", json!({"targetingKey": tester.id})).await;
        assert_eq!(reply.refused(403, "forbidden").json()["errorCode"], "GENERAL");
    }
    assert_eq!(value(evaluate(&admin, "testers", json!({"targetingKey": tester.id})).await), true);
    assert_eq!(value(evaluate(&admin, "testers", json!({"targetingKey": ann.id})).await), false);
    let nobody = json!({"targetingKey": Uuid::from_u128(7)});
    assert_eq!(value(evaluate(&admin, "testers", nobody.clone()).await), false);
    assert_eq!(value(evaluate(&admin, "all", nobody).await), true);
}

#[tokio::test]
async fn all_flags_come_together_and_only_if_something_has_changed() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    set(&admin, json!({"off": false, "some": [{"userRoles": ["user"]}]})).await.is(200);
    let body = json!({"context": {"targetingKey": ann.id}});
    let all = ann.post(ALL).json(&body).await;
    let flags = all.is(200).json()["flags"].as_array().unwrap().clone();
    let find = |key: &str| flags.iter().find(|flag| flag["key"] == key).cloned().unwrap();
    assert_eq!((&find("off")["value"], &find("some")["value"]), (&json!(false), &json!(true)));
    assert_eq!(find("some")["reason"], "TARGETING_MATCH");
    assert!(flags.len() > 50 && flags.iter().all(|flag| flag["value"].is_boolean()));
    let etag = all.header("etag").unwrap().to_owned();
    for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}")] {
        let again = ann.post(ALL).header("if-none-match", &known).json(&body).await;
        assert!(again.is(304).bytes().is_empty());
        assert_eq!(again.header("etag"), Some(&*etag));
    }
    // Of nobody in particular, flags with rules have no value.
    let nobody = ann.post(ALL).header("if-none-match", &etag).json(&json!({})).await.is(200).json();
    let some =
        nobody["flags"].as_array().unwrap().iter().find(|flag| flag["key"] == "some").cloned().unwrap();
    assert_eq!((&some["errorCode"], &some["value"]), (&json!("TARGETING_KEY_MISSING"), &Value::Null));
    set(&admin, json!({"off": true})).await.is(200);
    let changed = ann.post(ALL).header("if-none-match", &etag).json(&body).await;
    assert_ne!(changed.is(200).header("etag"), Some(&*etag));
}

#[tokio::test]
async fn pages_of_the_application_may_ask_from_their_own_origin() {
    let app = TestApp::with(&[("CORS_ORIGINS", "https://app.example.com")]).await;
    let ann = app.user("ann").await;
    let reply = ann.post(ALL).header("origin", "https://app.example.com").json(&json!({})).await;
    assert_eq!(reply.is(200).header("access-control-allow-origin"), Some("https://app.example.com"));
}
