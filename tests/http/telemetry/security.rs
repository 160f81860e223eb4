//! What an operator looks for after an incident: who came in, who did not, and who was kept out.

use gatehouse::platform::clock::Clock;
use serde_json::{Value, json};

use crate::canary::Running;
use crate::harness::{Actor, Ask, Client, Demand, PASSWORD, Reply};

/// A request that can be found in the log by this.
fn login(app: &Client, trace: &str, name: &str, password: &str) -> Ask {
    let body = json!({"username": name, "password": password});
    app.post("/api/auth/login").header("x-request-id", trace).json(&body)
}

/// The line with this trace id and these words.
fn line<'a>(lines: &'a [Value], trace: &str, message: &str) -> &'a Value {
    let is_it = |line: &&Value| line["trace_id"] == trace && line["message"] == message;
    let mut found = lines.iter().filter(is_it);
    let line = found.next().unwrap_or_else(|| panic!("{trace}: {message}"));
    assert!(found.next().is_none(), "{trace}: {message}, twice");
    line
}

// each line that concerns somebody says who, from where, and in which request.
#[tokio::test]
async fn whoever_comes_in_or_is_kept_out_is_in_the_log() {
    let level = ("LOG_LEVEL".to_owned(), "INFO".to_owned());
    let running = Running::start(&[level]).await;
    let app = running.client();
    let boss = login(app, "t-in", "boss", crate::canary::ADMIN).await;
    let boss = Actor::with_tokens(app, "boss", &boss.is(200).json());
    let new = json!({"username": "ann", "email": "ann@example.com", "password": PASSWORD, "confirm_password": PASSWORD});
    let signed_up = app.post("/api/auth/register").header("x-request-id", "t-up").json(&new).await;
    let ann = Actor::with_tokens(app, "ann", &signed_up.is(201).json());

    login(app, "t-wrong", "ann", "not the password 12").await.is(401);
    // Right after a failure nobody is heard.
    login(app, "t-early", "ann", PASSWORD).await.is(429);
    ann.get("/api/admin/stats").header("x-request-id", "t-denied").await.is(403);
    app.with_bearer("x").get("/api/user/me").header("x-request-id", "t-token").await.is(401);
    let authenticator = ann.begin_authenticator().await;
    let code = authenticator.code_at(Clock::System.now());
    ann.change_method("authenticator", &code).await.is(200);
    let is_asked = |reply: &Reply| reply.status() != 429;
    let demand = crate::harness::eventually(|| login(app, "t-half", "ann", PASSWORD), is_asked).await;
    let answer = json!({"otp_token": Demand::of(&demand).token, "otp_code": "x"});
    app.post("/api/auth/OTP").json(&answer).await.is(401);
    // The code that turned it on was its last.
    let answer = json!({"otp_token": Demand::of(&demand).token, "otp_code": code});
    app.post("/api/auth/OTP").header("x-request-id", "t-code").json(&answer).await.is(401);
    let ban = json!({"reason": "spam"});
    let path = format!("/api/admin/ban/{}", ann.id);
    boss.post(&path).header("x-request-id", "t-ban").json(&ban).await.is(200);
    login(app, "t-banned", "ann", PASSWORD).await;

    let log = running.stop();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let (boss, ann) = (json!(boss.id), json!(ann.id));
    for (trace, message, facts) in [
        ("t-in", "signed in", vec![("user_id", &boss)]),
        ("t-up", "signed up", vec![("user_id", &ann)]),
        ("t-wrong", "sign-in failed", vec![("user_id", &ann), ("client_ip", &json!("127.0.0.1"))]),
        ("t-early", "a sign-in was throttled", vec![("client_ip", &json!("127.0.0.1"))]),
        ("t-code", "a second factor failed", vec![("user_id", &ann), ("client_ip", &json!("127.0.0.1"))]),
        ("t-ban", "a user was banned", vec![("by", &boss), ("user_id", &ann)]),
    ] {
        let line = line(&lines, trace, message);
        for (name, fact) in facts {
            assert_eq!(line[name], *fact, "{line}");
        }
    }
    for (trace, route, status) in [
        ("t-in", "/api/auth/login", 200),
        ("t-wrong", "/api/auth/login", 401),
        ("t-early", "/api/auth/login", 429),
        ("t-denied", "/api/admin/stats", 403),
        ("t-token", "/api/user/me", 401),
        ("t-ban", "/api/admin/ban/:param0", 200),
    ] {
        let line = line(&lines, trace, "request");
        assert_eq!((&line["route"], &line["status"]), (&json!(route), &json!(status)), "{line}");
        assert_eq!(line["ip"], "127.0.0.1", "{line}");
    }
}
