//! What providers give us is told nobody: not in answers, not in logs, and not to who reads the database.

use gatehouse::platform::clock::Clock;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;

use super::idp::{Idp, Place, parameter};
use super::scene::{Scene, place_of};
use crate::canary::Running;
use crate::files::export::unpacked;
use crate::harness::{Actor, eventually, with_query};

/// The access tokens that the provider was shown.
fn tokens_of(idp: &Idp) -> Vec<String> {
    let shown = idp.asked(Place::Profile).into_iter().map(|asked| asked.header("authorization").to_owned());
    shown.filter_map(|header| header.split_once(' ').map(|(_, token)| token.to_owned())).collect()
}

fn holds(bytes: &[u8], token: &str) -> bool {
    bytes.windows(token.len()).any(|window| window == token.as_bytes())
}

//
#[tokio::test]
async fn no_answer_and_no_row_holds_a_token_of_a_provider() {
    let scene = Scene::with_mail().await;
    let admin = scene.admin().await;
    let ann = scene.come("github").await;
    let tokens = tokens_of(&scene.idp);
    assert!(!tokens.is_empty());
    for path in [
        "/api/user/me".to_owned(),
        ann.path(),
        format!("{}/history", ann.path()),
        "/api/auth/sessions".to_owned(),
    ] {
        let text = ann.get(&path).await.is(200).text().to_owned();
        assert!(tokens.iter().all(|token| !text.contains(token)), "{path}");
    }
    for path in [
        "/api/user/",
        "/api/email/queue",
        "/dev/inbox.json",
        "/api/admin/events",
        "/api/admin/audit",
        "/api/admin/stats",
        "/api/db/export",
    ] {
        let reply = admin.get(path).await;
        let bytes = reply.is(200).bytes();
        assert!(tokens.iter().all(|token| !holds(bytes, token)), "{path}");
    }
    let export = ann.get("/api/user/me/export").await;
    for (name, content) in unpacked(export.is(200).bytes()) {
        assert!(tokens.iter().all(|token| !holds(&content, token)), "{name}");
    }
    let reader = scene.inside.db.reader();
    let sql = "SELECT sealed_grant FROM external_accounts";
    let row = reader.query_one_raw(Statement::from_string(reader.get_database_backend(), sql)).await.unwrap();
    let sealed: Vec<u8> =
        row.unwrap().try_get_by_index::<Option<Vec<u8>>>(0).unwrap().expect("a grant is kept");
    assert!(tokens.iter().all(|token| !holds(&sealed, token)));
}

//
#[tokio::test]
async fn nothing_secret_of_a_sign_in_elsewhere_is_logged_however_much_is_logged() {
    let idp = Idp::start().await;
    idp.follow(&Clock::System);
    let settings: Vec<(String, String)> =
        idp.settings().into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let running = Running::start(&settings).await;
    let app = running.client();
    let mut secrets = vec![super::idp::CLIENT_SECRET.to_owned()];
    let port = app.base().rsplit(':').next().unwrap();
    let place = format!("http://localhost:{port}/app/in");
    for provider in ["github", "acme"] {
        let left =
            app.get(&with_query(&format!("/api/oauth/{provider}"), &[("redirect_uri", &*place)])).await;
        let cookie = left.is(302).cookie("gatehouse-oauth").unwrap().to_owned();
        let url = left.header("location").unwrap().to_owned();
        let callback = idp.visit(&url).await;
        for name in ["state", "code"] {
            secrets.push(parameter(&callback, name).unwrap());
        }
        let path = format!("{}?{}", callback.path(), callback.query().unwrap());
        let back = app.get(&path).header("cookie", &format!("gatehouse-oauth={cookie}")).await;
        let code = parameter(&place_of(&back), "code").unwrap();
        let traded = app.post("/api/oauth/token").header("x-request-id", "traced-trade");
        let tokens = traded.json(&json!({"code": code, "redirect_uri": place})).await.is(200).json();
        let ann = Actor::with_tokens(app, "ann", &tokens);
        secrets.extend([cookie, code, ann.access.clone(), ann.refresh.clone()]);
        ann.post(&format!("/api/oauth/{provider}/unlink?delete_account=true")).await.is(200);
    }
    for asked in idp.asked(Place::Token) {
        secrets.push(asked.field("code_verifier").unwrap().to_owned());
    }
    eventually(|| async { idp.revoked().len() }, |revoked| *revoked >= 2).await;
    secrets.extend(tokens_of(&idp));
    secrets.extend(idp.revoked());

    let log = running.stop();
    assert!(log.contains("traced-trade"), "what is no secret is there");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        let line = log.lines().find(|line| line.contains(secret.as_str()));
        assert!(line.is_none(), "logged: {}", line.unwrap_or_default());
    }
}
