//! Mailed links: guessed, stolen, used twice, used for something else, made to lead elsewhere.

use std::time::Duration;

use serde_json::{Value, json};

use super::browser::{Browser, leave_and_sign_in};
use super::wire::{json as json_request, request};
use super::{Answer, Scene, Wire, rounds, same};
use crate::harness::{Actor, PASSWORD, Reply, TestApp};
use crate::oauth::idp::{Idp, Person, parameter};
use crate::oauth::scene::{APP, code_of, path_of};

const OTHER_PASSWORD: &str = "sapphire lantern 88 meadow";
const EVIL: &str = "https://evil.test";
const OURS: &str = "http://localhost:8000";
const HOUR: Duration = Duration::from_hours(1);
const AT_ONCE: usize = 20;

async fn with_mail() -> Scene {
    Scene::with(&[("EMAIL_METHOD", "inbox"), ("THROTTLE_FORGOT", "1000/1h")]).await
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

fn verifying(token: &str) -> Vec<u8> {
    json_request("POST", "/api/auth/email/verify", None, &json!({"token": token}))
}

fn resetting(token: &str, password: &str) -> Vec<u8> {
    let body = json!({"token": token, "new_password": password, "confirm_password": password});
    json_request("POST", "/api/auth/forgot-password/reset", None, &body)
}

fn logging_in(name: &str, password: &str) -> Vec<u8> {
    json_request("POST", "/api/auth/login", None, &json!({"username": name, "password": password}))
}

//
#[tokio::test]
async fn no_mailbox_is_filled_by_strangers() {
    let scene = with_mail().await;
    scene.user("ann").await;
    let address = "ann@example.com";
    for (who, before) in [("ann", scene.letters_to(address).await.len()), ("nobody", 0)] {
        let address = format!("{who}@example.com");
        for number in 0..20 {
            scene.forget(("username", who)).await.is(202);
            scene.forget(("email", &address)).await.is(202);
            let email = json!({"email": address});
            scene.post("/api/auth/email/verify/request").json(&email).await.is(202);
            scene.sign_up(&format!("{who}_{number}"), &address, OTHER_PASSWORD).await.is(202);
            scene.clock.advance(Duration::from_mins(1));
        }
        let letters = scene.letters_to(&address).await;
        assert!(letters.len() <= before + 5, "{who}: {letters:?}");
    }
    // What the owner must know still comes, and after an hour so do links.
    scene.clock.advance(HOUR);
    let ann = scene.sign_in("ann").await;
    let change =
        json!({"old_password": PASSWORD, "new_password": OTHER_PASSWORD, "confirm_password": OTHER_PASSWORD});
    ann.patch("/api/auth/password/reset").json(&change).await.is(200);
    scene.mail_to(address, "password-changed").await;
    scene.reset(&scene.reset_token("ann").await, PASSWORD).await.is(200);
}

// what strangers have sent voids nothing that lies in a mailbox, and leaves room for what its owner asks for.
#[tokio::test]
async fn strangers_neither_void_the_owners_link_nor_keep_them_from_another() {
    let scene = with_mail().await;
    let address = "ann@example.com";
    scene.user("ann").await;
    let device = scene.try_sign_in("ann", PASSWORD).await.cookie("gatehouse-device").unwrap().to_owned();
    scene.clock.advance(HOUR);
    let sent =
        async |letter: &str| scene.letters_to(address).await.iter().filter(|sent| *sent == letter).count();
    for number in 0..6 {
        scene.sign_up(&format!("mallory_{number}"), address, OTHER_PASSWORD).await.is(202);
    }
    assert_eq!(sent("sign-up-attempt").await, 2);
    for asked in 1..=6 {
        scene.forget(("username", "ann")).await.is(202);
        assert_eq!(sent("reset").await, asked.min(3), "{asked}");
    }
    // By now nobody is sent anything; so the last link is as good as it was.
    let link = scene.mail_to(address, "reset").await.token();
    let proof = json!({"email": address});
    scene.post("/api/auth/email/verify/request").json(&proof).await.is(202);
    // Somebody at home is sent one all the same, and that one takes its place.
    let ask = || {
        let body = json!({"username": "ann"});
        scene
            .post("/api/auth/forgot-password/request")
            .header("cookie", &format!("gatehouse-device={device}"))
            .json(&body)
    };
    for asked in 1..=4 {
        ask().await.is(202);
        assert_eq!(sent("reset").await, 3 + asked.min(3), "{asked}");
    }
    scene.reset(&link, OTHER_PASSWORD).await.refused(401, "token_invalid");
    let link = scene.mail_to(address, "reset").await.token();
    scene.forget(("username", "ann")).await.is(202);
    scene.reset(&link, OTHER_PASSWORD).await.is(200);
    scene.try_sign_in("ann", OTHER_PASSWORD).await.is(200);
    scene.is_unharmed().await;
}

// nor the link of a sign-up, which others with the same address ask for, too.
#[tokio::test]
async fn a_link_that_proves_an_address_outlives_what_is_not_sent() {
    let scene = with_mail().await;
    let address = "ann@example.com";
    scene.sign_up("ann", address, PASSWORD).await.is(202);
    let link = scene.mail_to(address, "verification").await.token();
    for number in 0..6 {
        scene.sign_up(&format!("mallory_{number}"), address, OTHER_PASSWORD).await.is(202);
    }
    let letters = scene.letters_to(address).await.len();
    assert_eq!(letters, 4);
    scene.sign_up("ann", address, PASSWORD).await.is(202);
    let proof = json!({"email": address});
    scene.post("/api/auth/email/verify/request").json(&proof).await.is(202);
    assert_eq!(scene.letters_to(address).await.len(), letters);
    scene.verify(&link).await.is(200);
    scene.sign_in("ann").await.me().await;
}

// the same by somebody who is signed in and has letters sent to an address that is not theirs.
#[tokio::test]
async fn no_mailbox_is_filled_by_changes_of_address() {
    let scene = with_mail().await;
    for number in 0..4 {
        let mallory = scene.user(&format!("mallory_{number}")).await;
        for _ in 0..5 {
            mallory.patch(&mallory.path()).json(&json!({"email": "victim@example.com"})).await.is(200);
            mallory.post("/api/auth/email/verify/request").await.is(202);
            mallory.patch(&mallory.path()).json(&json!({"email": "other@example.com"})).await.is(200);
        }
    }
    for victim in ["victim@example.com", "other@example.com"] {
        let letters = scene.letters_to(victim).await;
        assert!(letters.len() <= 5, "{letters:?}");
    }
}

/// One secret of each kind, and what they belong to.
struct Kinds {
    secrets: Vec<(&'static str, String)>,
    /// The browser of the session cookie.
    browser: Browser,
    /// What the mailed code answers.
    asked_by_mail: String,
    /// Where the browser of the state and of the other cookie is sent back to by the provider.
    back: url::Url,
}

impl Kinds {
    /// One secret of each kind: of `ann`, who has an authenticator, of `bob`, who is mailed codes, of a sign-up, and of
    /// somebody who comes by a provider.
    async fn of(scene: &Scene, idp: &Idp) -> Self {
        let bob = scene.user("bob").await;
        bob.enrol_mail(scene).await;
        scene.clock.advance(Duration::from_mins(1)); // the next code stands so long apart from the one before
        let asked_by_mail = scene.demand("bob").await.token;
        let mailed = scene.mail_to("bob@example.com", "code").await.code();
        let ann = scene.user("ann").await;
        let browser = Browser::sign_in(scene, "bystander").await;
        let device = scene.try_sign_in("ann", PASSWORD).await.cookie("gatehouse-device").unwrap().to_owned();
        ann.patch(&ann.path()).json(&json!({"email": "new@example.com"})).await.is(200);
        let address = scene.mail_to("new@example.com", "verification").await.token();
        let (_, codes) = ann.enrol(scene).await;
        let challenge = scene.demand("ann").await.token;
        let reset = scene.reset_token("ann").await;
        scene.sign_up("newcomer", "newcomer@example.com", PASSWORD).await.is(202);
        let verify = scene.mail_to("newcomer@example.com", "verification").await.token();
        idp.person(Person::named("stranger", "4711"));
        let (cookie, back) = leave_and_sign_in(scene, idp).await;
        let code = code_of(&scene.get(&path_of(&back)).header("cookie", &cookie_of_leaving(&cookie)).await);
        let (cookie, back) = leave_and_sign_in(scene, idp).await;
        let secrets = vec![
            ("access", ann.access.clone()),
            ("refresh", ann.refresh.clone()),
            ("cookie", browser.cookie.clone()),
            ("csrf", browser.csrf.clone()),
            ("device", device),
            ("challenge", challenge),
            ("reset", reset),
            ("verify", verify),
            ("address", address),
            ("recovery", codes[0].clone()),
            ("mailed code", mailed),
            ("state", parameter(&back, "state").unwrap()),
            ("cookie of leaving", cookie),
            ("code", code),
        ];
        Self { secrets, browser, asked_by_mail, back }
    }

    fn get(&self, kind: &str) -> &str {
        &self.secrets.iter().find(|(present, _)| *present == kind).unwrap().1
    }

    /// Where the provider sends the browser back to, with this state.
    fn back_with(&self, state: &str) -> String {
        let pairs = self.back.query_pairs().into_owned();
        let pairs = pairs.map(|(name, value)| {
            let value = if name == "state" { state.to_owned() } else { value };
            (name, value)
        });
        let pairs: Vec<(String, String)> = pairs.collect();
        format!("{}?{}", self.back.path(), serde_urlencoded::to_string(pairs).unwrap())
    }

    /// Neither the provider's part nor ours of signing in elsewhere takes this secret in the place of its own, nor does
    /// the challenge that a mailed code answers.
    async fn are_not_replaced_by(&self, scene: &Scene, kind: &str, secret: &str) {
        if kind != "state" {
            let cookie = cookie_of_leaving(self.get("cookie of leaving"));
            let reply = scene.get(&self.back_with(secret)).header("cookie", &cookie).await;
            assert!(reply.is(400).set_cookie("gatehouse").is_none(), "{kind}: {reply:?}");
        }
        if kind != "cookie of leaving" {
            let cookie = cookie_of_leaving(secret);
            let reply = scene.get(&path_of(&self.back)).header("cookie", &cookie).await;
            assert!(reply.is(400).set_cookie("gatehouse").is_none(), "{kind}: {reply:?}");
        }
        if kind != "code" {
            trade(scene, secret).await.refused(401, "token_invalid");
        }
        if kind != "mailed code" {
            scene.answer(&self.asked_by_mail, secret).await.refused(401, "invalid_otp");
        }
    }
}

fn cookie_of_leaving(value: &str) -> String {
    format!("gatehouse-oauth={value}")
}

/// What trading a code of ours answers.
async fn trade(scene: &Scene, code: &str) -> Reply {
    scene.post("/api/oauth/token").json(&json!({"code": code, "redirect_uri": APP})).await
}

// the matrix with all that came with mail, the second factor and other providers.
#[tokio::test]
async fn no_link_challenge_or_code_serves_in_the_place_of_another() {
    let idp = Idp::start().await;
    let mail = [("EMAIL_METHOD", "inbox"), ("THROTTLE_FORGOT", "1000/1h")];
    let scene = Scene::with(&[&idp.settings()[..], &mail].concat()).await;
    idp.follow(&scene.clock);
    let kinds = Kinds::of(&scene, &idp).await;
    let (browser, recovery) = (&kinds.browser, kinds.get("recovery"));
    for (kind, secret) in &kinds.secrets {
        if *kind != "access" {
            scene.with_bearer(secret).get("/api/user/me").await.refused(401, "token_invalid");
            scene.with_bearer(secret).get("/api/auth/QR").await.refused(401, "token_invalid");
        }
        if *kind != "refresh" {
            let refresh = json!({"refresh_token": secret});
            scene.post("/api/auth/token/refresh").json(&refresh).await.refused(401, "token_invalid");
        }
        if *kind != "cookie" {
            let cookie = format!("gatehouse={secret}");
            scene.get("/api/user/me").header("cookie", &cookie).await.refused(401, "token_invalid");
        }
        if *kind != "csrf" {
            browser.change_with(&scene, secret).await.refused(403, "forbidden");
        }
        if *kind != "reset" {
            scene.reset(secret, OTHER_PASSWORD).await.refused(401, "token_invalid");
            let body = json!({"new_password": OTHER_PASSWORD, "confirm_password": OTHER_PASSWORD});
            let reply = scene.with_bearer(secret).post("/api/auth/forgot-password/reset").json(&body).await;
            reply.refused(401, "token_invalid");
        }
        if !matches!(*kind, "verify" | "address") {
            scene.verify(secret).await.refused(401, "token_invalid");
        }
        if *kind != "challenge" {
            scene.answer(secret, recovery).await.refused(401, "invalid_otp");
            let cookie = format!("gatehouse-otp={secret}");
            let body = json!({"otp_code": recovery});
            scene
                .post("/api/auth/OTP")
                .header("cookie", &cookie)
                .json(&body)
                .await
                .refused(401, "invalid_otp");
            let send = scene.post("/api/auth/OTP/send").json(&json!({"otp_token": secret})).await;
            send.refused(401, "invalid_otp");
        }
        kinds.are_not_replaced_by(&scene, kind, secret).await;
        let form = [
            ("token", secret.as_str()),
            ("username", "boss"),
            ("password", PASSWORD),
            ("confirm_password", PASSWORD),
        ];
        assert_eq!(scene.post("/setup").form(&form).await.status() / 100, 4, "{kind}");
        if !matches!(*kind, "access" | "refresh") {
            scene.post("/api/auth/token/revoke").form(&[("token", secret)]).await.is(200);
            let admin = scene.admin().await;
            let told = admin.post("/api/auth/token/introspect").form(&[("token", secret)]).await;
            assert_eq!(told.is(200).json(), json!({"active": false}), "{kind}");
        }
    }
    // Each still opens its own door.
    scene.answer(kinds.get("challenge"), recovery).await.is(200);
    scene.answer(&kinds.asked_by_mail, kinds.get("mailed code")).await.is(200);
    scene.verify(kinds.get("verify")).await.is(200);
    scene.verify(kinds.get("address")).await.is(200);
    trade(&scene, kinds.get("code")).await.is(200);
    let cookie = cookie_of_leaving(kinds.get("cookie of leaving"));
    code_of(&scene.get(&path_of(&kinds.back)).header("cookie", &cookie).await);
    browser.change(&scene).await.is(200);
    scene.is_unharmed().await;
}

// A-062 for mailed links, R-20: neither in part nor in another spelling.
#[tokio::test]
async fn a_link_is_whole_or_none() {
    let scene = with_mail().await;
    scene.user("ann").await;
    let token = scene.reset_token("ann").await;
    for bent in [
        token[..token.len() - 1].to_owned(),
        format!("{token}="),
        format!("{token}A"),
        format!("{token}\0"),
        token.to_uppercase(),
        token.to_lowercase(),
        format!(" {token}"),
        "%00".to_owned(),
        "null".to_owned(),
        "A".repeat(token.len()),
        "A".repeat(60_000),
    ] {
        let reply = scene.reset(&bent, OTHER_PASSWORD).await;
        assert!(matches!(reply.status(), 401 | 413 | 422), "{reply:?}");
    }
    scene.try_sign_in("ann", PASSWORD).await.is(200);
    scene.reset(&token, OTHER_PASSWORD).await.is(200);
}

//
#[tokio::test]
async fn no_other_site_answers_resets_verifies_or_asks() {
    let scene = Scene::with(&[("EMAIL_METHOD", "inbox"), ("CORS_ORIGINS", "https://app.test")]).await;
    let ann = scene.user("ann").await;
    let (authenticator, _) = ann.enrol(&scene).await;
    let challenge = scene.demand("ann").await.token;
    let reset = scene.reset_token("ann").await;
    scene.sign_up("newcomer", "newcomer@example.com", PASSWORD).await.is(202);
    let verify = scene.mail_to("newcomer@example.com", "verification").await.token();
    let sent = scene.inbox().await.len();
    let code = authenticator.next_code(&scene);
    let cookie = format!("gatehouse-otp={challenge}");
    let new = OTHER_PASSWORD.replace(' ', "+");
    let forms = [
        ("/api/auth/OTP", format!("otp_token={challenge}&otp_code={code}")),
        ("/api/auth/OTP", format!("otp_code={code}")),
        ("/api/auth/OTP/send", format!("otp_token={challenge}")),
        ("/api/auth/email/verify", format!("token={verify}")),
        ("/api/auth/email/verify/request", "email=newcomer%40example.com".to_owned()),
        ("/api/auth/forgot-password/request", "username=ann".to_owned()),
        (
            "/api/auth/forgot-password/reset",
            format!("token={reset}&new_password={new}&confirm_password={new}"),
        ),
        ("/otp", format!("otp_code={code}")),
        ("/verify", format!("token={verify}")),
        ("/signup", format!("username=forced&email=f%40example.com&password={new}&confirm_password={new}")),
        ("/forgot-password/request", "username=ann".to_owned()),
        ("/reset-password/reset", format!("token={reset}&new_password={new}&confirm_password={new}")),
    ];
    let foreign = [
        [("origin", EVIL)],
        [("origin", "null")],
        [("origin", "http://localhost:8000.evil.test")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
    ];
    for (path, form) in &forms {
        for headers in &foreign {
            let kind = ("content-type", "application/x-www-form-urlencoded");
            let headers = [&[kind, ("cookie", cookie.as_str())][..], headers].concat();
            let answer = Wire::to(&scene).send(request("POST", path, &headers, form)).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}: {answer:?}");
            assert!(!answer.text.contains("set-cookie"), "{answer:?}");
        }
    }
    assert_eq!(scene.inbox().await.len(), sent, "nothing was sent");
    // Nothing was used up; and a listed origin, and a program, are served.
    let listed = [("content-type", "application/x-www-form-urlencoded"), ("origin", "https://app.test")];
    for (path, form) in [&forms[0], &forms[3], &forms[6]] {
        let answer = Wire::to(&scene).send(request("POST", path, &listed, form)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    scene.is_unharmed().await;
}

// A-079, T-14, R-22
#[tokio::test]
async fn links_lead_to_the_configured_place_whatever_a_request_says() {
    let scene = Scene::with(&[
        ("EMAIL_METHOD", "inbox"),
        ("THROTTLE_FORGOT", "1000/1h"),
        ("BASE_URL", "https://id.example.com/"),
    ])
    .await;
    let lines = [
        "host: evil.test",
        "host: good.test:80@evil.test",
        "host: localhost\r\nx-forwarded-host: evil.test",
        "host: localhost\r\nforwarded: host=evil.test;proto=https",
        "host: localhost\r\nx-forwarded-proto: javascript\r\nx-forwarded-port: 666\r\nx-forwarded-prefix: //evil.test",
        "host: localhost\r\nx-original-host: evil.test\r\nx-host: evil.test\r\nx-original-url: //evil.test",
        "host: localhost\r\norigin: https://id.example.com\r\nreferer: https://evil.test/",
    ];
    let send = async |target: &str, lines: &str, body: &Value| {
        let body = body.to_string();
        let text = format!(
            "POST {target} HTTP/1.1\r\n{lines}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        );
        Wire::to(&scene).send(text).await
    };
    let is_ours = |mail: &crate::harness::Mail| {
        assert!(!mail.links.is_empty());
        for link in &mail.links {
            let url = url::Url::parse(link).expect("a URL");
            assert_eq!(url.origin().ascii_serialization(), "https://id.example.com", "{mail:?}");
        }
        let shown = format!("{} {} {}", mail.subject, mail.text, mail.html);
        assert!(
            !shown.contains("evil") && !shown.contains("javascript:") && !shown.contains(":666"),
            "{mail:?}"
        );
    };
    let mut taken = 0;
    for (number, lines) in lines.iter().enumerate() {
        for target in ["", "http://evil.test"] {
            let name = format!("ann_{number}_{}", target.len());
            let address = format!("{name}@example.com");
            let at = |path: &str| format!("{target}{path}");
            let new = json!({"username": name, "email": address, "password": PASSWORD, "confirm_password": PASSWORD});
            let answer = send(&at("/api/auth/register"), lines, &new).await;
            assert!(matches!(answer.status, 202 | 400 | 403), "{lines}: {answer:?}");
            if answer.status != 202 {
                continue;
            }
            taken += 1;
            is_ours(&scene.mail_to(&address, "verification").await);
            send(&at("/api/auth/email/verify/request"), lines, &json!({"email": address})).await;
            let mail = scene.mail_to(&address, "verification").await;
            is_ours(&mail);
            scene.verify(&mail.token()).await.is(200);
            send(&at("/api/auth/forgot-password/request"), lines, &json!({"username": name})).await;
            is_ours(&scene.mail_to(&address, "reset").await);
            assert!(!answer.text.contains("evil"), "{answer:?}");
        }
    }
    assert!(taken >= 5, "{taken}");
    let two = "host: localhost\r\nhost: evil.test";
    assert_eq!(
        send("/api/auth/forgot-password/request", two, &json!({"username": "ann_0_0"})).await.status,
        400
    );
}

// where the links lead is for the operator to say.
#[tokio::test]
async fn links_lead_where_the_operator_says() {
    let scene = Scene::with(&[
        ("EMAIL_METHOD", "inbox"),
        ("FRONTEND_URL", "https://app.example.com"),
        ("VERIFY_URL", "https://app.example.com/prove?token={token}"),
        ("RESET_URL", "https://app.example.com/new-password?token={token}"),
    ])
    .await;
    scene.user("ann").await;
    let verification = scene.mail_to("ann@example.com", "verification").await;
    assert!(verification.link().starts_with("https://app.example.com/prove?token="), "{verification:?}");
    scene.reset_token("ann").await;
    let reset = scene.mail_to("ann@example.com", "reset").await;
    assert!(reset.link().starts_with("https://app.example.com/new-password?token="), "{reset:?}");
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_parallel_proofs_by_one_link_one_succeeds() {
    let scene = with_mail().await;
    for round in 0..rounds() {
        scene.clock.advance(HOUR);
        let name = format!("new_{round}");
        let address = format!("{name}@example.com");
        scene.sign_up(&name, &address, PASSWORD).await.is(202);
        let token = scene.mail_to(&address, "verification").await.token();
        let answers = Wire::to(&scene).race(vec![verifying(&token); AT_ONCE]).await;
        assert_eq!(count(&answers, 200), 1, "round {round}: {:?}", statuses(&answers));
        assert_eq!(count(&answers, 401), AT_ONCE - 1, "round {round}: {:?}", statuses(&answers));
        let made = format!("SELECT COUNT(*) FROM users WHERE username = '{name}'");
        assert_eq!(scene.number(&made).await, 1);
    }
    scene.is_unharmed().await;
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_parallel_resets_by_one_link_one_succeeds() {
    let scene = with_mail().await;
    scene.user("ann").await;
    for round in 0..rounds() {
        scene.clock.advance(HOUR);
        let token = scene.reset_token("ann").await;
        let password = |number: usize| format!("velvet otter {round} granite {number}");
        let resets = (0..AT_ONCE).map(|number| resetting(&token, &password(number)));
        let answers = Wire::to(&scene).race(resets.collect()).await;
        assert_eq!(count(&answers, 200), 1, "round {round}: {:?}", statuses(&answers));
        // Whoever is told to come back has changed nothing either.
        let late = count(&answers, 401) + count(&answers, 503);
        assert_eq!(late, AT_ONCE - 1, "round {round}: {:?}", statuses(&answers));
        let winner = answers.iter().position(|answer| answer.status == 200).unwrap();
        scene.try_sign_in("ann", &password(winner)).await.is(200);
        let loser = (winner + 1) % AT_ONCE;
        scene.try_sign_in("ann", &password(loser)).await.refused(401, "invalid_credentials");
    }
    scene.is_unharmed().await;
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_parallel_changes_of_address_by_one_link_one_succeeds() {
    let scene = with_mail().await;
    let mut ann = scene.user("ann").await;
    for round in 0..rounds() {
        scene.clock.advance(HOUR);
        ann = scene.sign_in(&ann.name).await;
        let address = format!("ann_{round}@example.com");
        ann.patch(&ann.path()).json(&json!({"email": address})).await.is(200);
        let token = scene.mail_to(&address, "verification").await.token();
        let answers = Wire::to(&scene).race(vec![verifying(&token); AT_ONCE]).await;
        assert_eq!(count(&answers, 200), 1, "round {round}: {:?}", statuses(&answers));
        assert_eq!(count(&answers, 401), AT_ONCE - 1, "round {round}: {:?}", statuses(&answers));
        assert_eq!(ann.me().await["email"], address.as_str());
    }
}

// two who prove one address at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_sign_ups_for_one_address_proved_at_once_one_becomes_an_account() {
    let scene = with_mail().await;
    for round in 0..rounds() {
        scene.clock.advance(HOUR);
        let address = format!("wanted_{round}@example.com");
        let mut proofs = Vec::new();
        for number in 0..4 {
            scene.sign_up(&format!("w{number}_{round}"), &address, PASSWORD).await.is(202);
            let mail = scene.mail_to(&address, "verification").await;
            proofs.push(verifying(&mail.token()));
        }
        let answers = Wire::to(&scene).race(proofs.iter().cycle().take(AT_ONCE).cloned().collect()).await;
        assert_eq!(count(&answers, 200), 1, "round {round}: {:?}", statuses(&answers));
        assert!(
            answers.iter().all(|answer| matches!(answer.status, 200 | 401 | 409)),
            "{:?}",
            statuses(&answers)
        );
        let made = format!("SELECT COUNT(*) FROM users WHERE email = '{address}'");
        assert_eq!(scene.number(&made).await, 1);
    }
    scene.is_unharmed().await;
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_reset_in_a_storm_everything_old_is_dead() {
    let scene = with_mail().await;
    scene.user("ann").await;
    let mut old = PASSWORD.to_owned();
    for round in 0..rounds() {
        scene.clock.advance(HOUR);
        let new = format!("velvet otter {round} granite");
        let reply = scene.try_sign_in("ann", &old).await;
        let ann = Actor::with_tokens(&scene, "ann", &reply.is(200).json());
        let token = scene.reset_token("ann").await;
        let refresh =
            json_request("POST", "/api/auth/token/refresh", None, &json!({"refresh_token": ann.refresh}));
        let mut storm = vec![logging_in("ann", &old); 4];
        storm.push(resetting(&token, &new));
        storm.extend(vec![refresh; 6]);
        storm.push(logging_in("ann", &new));
        let answers = Wire::to(&scene).race(storm).await;
        assert_eq!(answers[4].status, 200, "round {round}: {:?}", statuses(&answers));
        scene.clock.advance(Duration::from_mins(1));
        scene.try_sign_in("ann", &old).await.refused(401, "invalid_credentials");
        let before_it = answers[..4].iter().chain(&answers[5..11]).filter(|answer| answer.status == 200);
        for answer in before_it {
            let old = Actor::with_tokens(&scene, "ann", &answer.json());
            old.get("/api/user/me").await.refused(401, "token_invalid");
            let refresh = json!({"refresh_token": old.refresh});
            scene.post("/api/auth/token/refresh").json(&refresh).await.refused(401, "token_invalid");
        }
        ann.get("/api/user/me").await.refused(401, "token_invalid");
        old = new;
    }
    scene.clock.advance(HOUR);
    scene.try_sign_in("ann", &old).await.is(200);
    scene.is_unharmed().await;
}

// T-01: the step that sets the password trusts no step before it.
#[tokio::test]
async fn walking_the_flow_is_no_link() {
    let scene = with_mail().await;
    let ann = scene.user("ann").await;
    let browser = Browser::sign_in(&scene, "ann").await;
    let asked =
        scene.post("/forgot-password/request").header("origin", OURS).form(&[("username", "ann")]).await;
    assert!(asked.is(202).header("set-cookie").is_none(), "there is no cookie of the flow: {asked:?}");
    let page = scene.get("/reset-password/reset").header("cookie", &browser.header()).await;
    assert!(page.header("set-cookie").is_none(), "{page:?}");
    let new = json!({"new_password": OTHER_PASSWORD, "confirm_password": OTHER_PASSWORD});
    let fields = [("new_password", OTHER_PASSWORD), ("confirm_password", OTHER_PASSWORD)];
    let api = "/api/auth/forgot-password/reset";
    let tries: Vec<Reply> = vec![
        scene.post(api).json(&new).await,
        scene.post(api).header("cookie", &browser.header()).header("x-csrf-token", &browser.csrf).json(&new).await,
        ann.post(api).json(&new).await,
        scene.post(api).json(&json!({"new_password": OTHER_PASSWORD, "confirm_password": OTHER_PASSWORD, "username": "ann"})).await,
        scene.post(api).json(&json!({"new_password": OTHER_PASSWORD, "confirm_password": OTHER_PASSWORD, "token": ""})).await,
        scene.post("/reset-password/reset").header("origin", OURS).header("cookie", &browser.header()).form(&fields).await,
        scene.post("/forgot-password/reset").header("origin", OURS).form(&fields).await,
        scene.get(&format!("{api}?new_password=x")).await,
    ];
    for reply in &tries {
        assert!((400..500).contains(&reply.status()), "{reply:?}");
    }
    scene.try_sign_in("ann", PASSWORD).await.is(200);
    ann.me().await;
    scene.is_unharmed().await;
}

// asking again and again tells nobody anything, whoever it is about.
#[tokio::test]
async fn asking_too_often_is_answered_alike_for_everybody() {
    let scene = with_mail().await;
    scene.user("ann").await;
    scene.sign_up("pending", "pending@example.com", PASSWORD).await.is(202);
    let first = scene.forget(("username", "ann")).await;
    for who in ["ann", "pending", "nobody"] {
        for _ in 0..10 {
            same(&first, &scene.forget(("username", who)).await);
            let email = json!({"email": format!("{who}@example.com")});
            same(&first, &scene.post("/api/auth/email/verify/request").json(&email).await);
        }
    }
}

// what a link changed on one instance is so on the other.
#[tokio::test]
async fn a_link_used_at_one_instance_is_spent_at_the_other() {
    let scene = with_mail().await;
    let other: TestApp = scene.second_instance().await;
    let ann = scene.user("ann").await;
    ann.at(&other).me().await;
    let token = scene.reset_token("ann").await;
    other.reset(&token, OTHER_PASSWORD).await.is(200);
    scene.reset(&token, PASSWORD).await.refused(401, "token_invalid");
    crate::harness::eventually(|| ann.get("/api/user/me"), |reply: &Reply| reply.status() == 401).await;
    scene.try_sign_in("ann", OTHER_PASSWORD).await.is(200);
}
