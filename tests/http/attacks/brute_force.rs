//! Guessing passwords, alone and from many places at once.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;

use super::wire::{self, request};
use super::{Scene, Wire};
use crate::harness::{Demand, PASSWORD, eventually, race};
use crate::oauth::scene::{Scene as Elsewhere, path_of, place_of};

const WRONG: &str = "certainly not this one 4711";
/// The server believes what tests say about where they come from.
const BEHIND_A_PROXY: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.0/8");

fn wrong(name: &str) -> Vec<u8> {
    wire::json("POST", "/api/auth/login", None, &json!({"username": name, "password": WRONG}))
}

//
#[tokio::test]
async fn a_hundred_guesses_in_a_row_cost_next_to_nothing() {
    let scene = Scene::new().await;
    scene.user("victim").await;
    let before = scene.hashes().await.done;
    let mut refused = 0;
    for number in 0..100 {
        let reply = scene.try_sign_in("victim", WRONG).await;
        if reply.status() == 429 {
            refused += 1;
        } else {
            assert!(number < 10, "{reply:?}");
        }
    }
    assert!(refused >= 90, "{refused}");
    assert!(scene.hashes().await.done - before <= 10);
    scene.is_unharmed().await;
}

// from two hundred places, as fast as the account lets them.
#[tokio::test]
async fn guesses_from_everywhere_lock_the_account_after_a_hundred() {
    let scene = Scene::with(&[BEHIND_A_PROXY]).await;
    scene.user("victim").await;
    // So that a day does not end meanwhile: the lock is until then.
    let before = scene.hashes().await.done;
    let mut evaluated = 0;
    for number in 0..200 {
        let from = format!("198.51.{}.{}", 100 + number % 3, number);
        let reply = scene.login_from(&from, "victim", WRONG).await;
        match reply.status() {
            401 => evaluated += 1,
            429 => {}
            _ => panic!("{reply:?}"),
        }
        scene.clock.advance(Duration::from_secs(11));
    }
    assert_eq!(evaluated, 100);
    assert_eq!(scene.hashes().await.done - before, 100);
    // Locked: not even the right password from a new place.
    scene.login_from("203.0.113.9", "victim", PASSWORD).await.refused(429, "rate_limited");
    scene.is_unharmed().await;
}

// guesses at once must not slip by one another, whether the account exists or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_guesses_at_once_at_most_five_are_looked_at() {
    let scene = Scene::new().await;
    scene.user("victim").await;
    for name in ["victim", "nobody", "victim@example.com", "nobody@example.com"] {
        scene.clock.advance(Duration::from_hours(25));
        scene.inside.sweep().await.unwrap();
        let before = scene.hashes().await.done;
        let answers = Wire::to(&scene).race(vec![wrong(name); 50]).await;
        let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
        assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 429)), "{answers:?}");
        assert!((1..=5).contains(&looked_at), "{looked_at}");
        assert!(scene.hashes().await.done - before <= 5);
        scene.try_sign_in(name, PASSWORD).await.refused(429, "rate_limited");
    }
    scene.is_unharmed().await;
}

// the right one hidden among the wrong ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_right_guess_in_a_storm_of_wrong_ones_is_one_of_the_five() {
    let scene = Scene::new().await;
    scene.user("victim").await;
    let right =
        wire::json("POST", "/api/auth/login", None, &json!({"username": "victim", "password": PASSWORD}));
    let before = scene.hashes().await.done;
    let mut requests = vec![wrong("victim"); 49];
    requests.insert(25, right);
    let answers = Wire::to(&scene).race(requests).await;
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 401 | 429)), "{answers:?}");
    // A success forgives what failed before it, so that five more may begin.
    assert!(scene.hashes().await.done - before <= 10);
}

//
#[tokio::test]
async fn every_spelling_of_a_name_is_counted_as_one() {
    let scene = Scene::new().await;
    scene.user("ann_01").await;
    for spelling in
        ["ann_01", "ANN_01", "Ann_01", "ann_01@example.com", "ANN_01@EXAMPLE.COM", "Ann_01@example.COM"]
    {
        scene.try_sign_in("ann_01", WRONG).await.refused(401, "invalid_credentials");
        scene.try_sign_in(spelling, PASSWORD).await.refused(429, "rate_limited");
        scene.clock.advance(Duration::from_hours(1));
        scene.sign_in("ann_01").await;
    }
    // What only looks like it is counted with it, if it means the same, and opens nothing, if it doesn't.
    for lookalike in [" ann_01", "ann_01 ", "ａnn_01", "ＡＮＮ_０１"] {
        scene.clock.advance(Duration::from_hours(1));
        scene.try_sign_in(lookalike, WRONG).await.refused(401, "invalid_credentials");
        scene.try_sign_in("ann_01", PASSWORD).await.refused(429, "rate_limited");
    }
    for lookalike in [
        "ann\u{200b}_01",
        "ann_01\0",
        "аnn_01",
        "ann_01@@example.com",
        "ann_01@example.com\0",
        "ann_01%",
        "ann__1",
    ] {
        scene.try_sign_in(lookalike, PASSWORD).await.refused(401, "invalid_credentials");
        scene.try_sign_in(lookalike, PASSWORD).await.refused(429, "rate_limited");
    }
}

//
#[tokio::test]
async fn one_password_on_many_names_is_stopped_at_its_source() {
    let scene = Scene::with(&[BEHIND_A_PROXY]).await;
    let before = scene.hashes().await.done;
    let mut statuses = Vec::new();
    for number in 0..500 {
        statuses.push(scene.login_from("198.51.100.7", &format!("name_{number}"), WRONG).await.status());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 20);
    assert!(statuses[20..].iter().all(|status| *status == 429));
    assert_eq!(scene.hashes().await.done - before, 20);
    // Others are not harmed by it.
    scene.login_from("198.51.100.8", "bystander", PASSWORD).await.is(200);
}

//
#[tokio::test]
async fn a_network_of_ipv6_is_one_source() {
    let scene = Scene::with(&[BEHIND_A_PROXY]).await;
    for (number, network) in ["2001:db8:7:7", "2001:db8:7:8"].iter().enumerate() {
        let mut looked_at = 0;
        for host in 0..300 {
            let name = format!("name_{number}_{host}");
            let reply = scene.login_from(&format!("{network}::{host:x}"), &name, WRONG).await;
            looked_at += u32::from(reply.status() == 401);
        }
        assert_eq!(looked_at, 20, "{network}");
    }
    for number in 0..10 {
        scene.login_from("198.51.100.9", &format!("a_{number}"), WRONG).await.is(401);
        scene.login_from("::ffff:198.51.100.9", &format!("b_{number}"), WRONG).await.is(401);
    }
    scene.login_from("198.51.100.9", "c", WRONG).await.is(429);
    scene.login_from("::ffff:c633:6409", "d", WRONG).await.is(429);
}

// whoever is given a /48 has 65,536 of them.
#[tokio::test]
async fn the_network_around_many_of_ipv6_has_ten_times_as_much_and_no_more() {
    let scene = Scene::with(&[BEHIND_A_PROXY, ("THROTTLE_LOGIN", "3/15m")]).await;
    let mut looked_at = Vec::new();
    for network in 0..15 {
        for host in 1..5 {
            let from = format!("2001:db8:7:{network:x}::{host:x}");
            let reply = scene.login_from(&from, &format!("name_{network}_{host}"), WRONG).await;
            looked_at.push(reply.status() == 401);
        }
    }
    let expected: Vec<bool> = (0..60).map(|number| number < 40 && number % 4 < 3).collect();
    assert_eq!(looked_at, expected);
    scene.login_from("2001:db8:7:ffff::1", "bystander", PASSWORD).await.is(429);
    scene.login_from("2001:db8:8:1::1", "bystander", PASSWORD).await.is(200);
}

//
#[tokio::test]
async fn a_locked_out_victim_still_comes_in_from_a_device_they_used_before() {
    let scene = Scene::with(&[BEHIND_A_PROXY]).await;
    scene.user("victim").await;
    let first = scene.try_sign_in("victim", PASSWORD).await;
    let device = device_of(&first);
    let stranger = scene.user("stranger").await;
    let strangers = device_of(&scene.try_sign_in(&stranger.name, PASSWORD).await);
    for number in 0..100 {
        scene.login_from(&format!("198.51.100.{number}"), "victim", WRONG).await.is(401);
        scene.clock.advance(Duration::from_secs(11));
    }
    let login = async |cookie: &str, password: &str| {
        let form = [("username", "victim"), ("password", password)];
        scene.post("/api/auth/login").header("cookie", cookie).form(&form).await
    };
    for other in ["", &strangers, "gatehouse-device=x", &format!("{device}; {device}"), &format!("{device}A")]
    {
        login(other, PASSWORD).await.refused(429, "rate_limited");
    }
    login(&device, PASSWORD).await.is(200);
    // The device's own tries are counted, too.
    for number in 0..30 {
        let status = login(&device, WRONG).await.status();
        assert_eq!(status, if number == 0 { 401 } else { 429 });
    }
    scene.is_unharmed().await;
}

// failures are counted in a row; whoever is in has ended theirs, with a second factor as well as without.
#[tokio::test]
async fn whoever_is_in_from_a_known_device_has_ended_its_row_of_failures() {
    let scene = Scene::new().await;
    let victim = scene.user("victim").await;
    let (authenticator, _) = victim.enrol(&scene).await;
    let mut device = String::new();
    for round in 0..3 {
        let login = async |cookie: &str, password: &str| {
            let form = [("username", "victim"), ("password", password)];
            scene.post("/api/auth/login").header("cookie", cookie).form(&form).await
        };
        if !device.is_empty() {
            // The third in a row would have to wait three seconds.
            for _ in 0..2 {
                login(&device, WRONG).await.refused(401, "invalid_credentials");
                scene.clock.advance(Duration::from_secs(1));
            }
        }
        let demand = Demand::of(&login(&device, PASSWORD).await);
        let code = authenticator.next_code(&scene);
        let answer = json!({"otp_token": demand.token, "otp_code": code});
        let reply = scene.post("/api/auth/OTP").header("cookie", &device).json(&answer).await;
        let cookie = reply.is(200).cookie("gatehouse-device").unwrap_or_else(|| panic!("{round}: {reply:?}"));
        device = format!("gatehouse-device={cookie}");
        scene.clock.advance(Duration::from_secs(31));
    }
    scene.is_unharmed().await;
}

fn device_of(reply: &crate::harness::Reply) -> String {
    reply.is(200).header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

// a locked account is locked wherever a password is looked at.
#[tokio::test]
async fn no_other_door_looks_at_a_locked_accounts_password() {
    let scene = Scene::with(&[BEHIND_A_PROXY]).await;
    let victim = scene.user("victim").await;
    for number in 0..100 {
        scene.login_from(&format!("198.51.100.{number}"), "victim", WRONG).await.is(401);
        scene.clock.advance(Duration::from_secs(11));
    }
    let before = scene.hashes().await.done;
    let proof = json!({"password": PASSWORD});
    let change = json!({"old_password": PASSWORD, "new_password": "sapphire lantern 88 meadow", "confirm_password": "sapphire lantern 88 meadow"});
    victim.post("/api/auth/reauthenticate").json(&proof).await.refused(429, "rate_limited");
    victim.patch("/api/auth/password/reset").json(&change).await.refused(429, "rate_limited");
    let form = [("username", "victim"), ("password", PASSWORD)];
    let page = scene.post("/signin").header("origin", "http://localhost:8000").form(&form).await;
    assert_eq!(page.status(), 429, "{page:?}");
    assert!(page.header("set-cookie").is_none());
    for path in ["/api/user/me", "/api/auth/sessions", "/api/auth/token/validate"] {
        scene.get(path).basic("victim", PASSWORD).await.refused(401, "token_invalid");
    }
    assert_eq!(scene.hashes().await.done, before);
    // Who is signed in already stays so: the lock is no weapon against them.
    victim.me().await;
    let refresh = json!({"refresh_token": victim.refresh});
    scene.post("/api/auth/token/refresh").json(&refresh).await.is(200);
}

// what is no guess at the password is not refused by its lock, and does not lift it either.
#[tokio::test]
async fn a_lock_is_on_passwords_and_the_other_doors_keep_their_own_budget() {
    let scene = Elsewhere::with(&[BEHIND_A_PROXY]).await;
    let (victim, careful) = (scene.user("victim").await, scene.user("careful").await);
    scene.is("nickname", "333");
    let back = scene.browser().send(&victim, "acme", "link").await;
    assert_eq!(path_of(&place_of(&back)), "/account?linked=acme");
    let (authenticator, _) = careful.enrol(&scene).await;

    let mut demand = None;
    for number in 0..100 {
        for name in ["victim", "careful"] {
            let form = [("username", name), ("password", WRONG)];
            let from = format!("198.51.100.{number}");
            let guess = scene.post("/api/auth/login").header("x-forwarded-for", &from).form(&form).await;
            guess.refused(401, "invalid_credentials");
        }
        scene.clock.advance(Duration::from_secs(11));
        if number == 95 {
            demand = Some(scene.demand("careful").await);
        }
    }
    for name in ["victim", "careful"] {
        scene.try_sign_in(name, PASSWORD).await.refused(429, "rate_limited");
    }

    // Another provider, and the sessions that there are.
    let came = scene.come("acme").await;
    assert_eq!(came.id, victim.id);
    for refresh in [&victim.refresh, &came.refresh] {
        scene.post("/api/auth/token/refresh").json(&json!({"refresh_token": refresh})).await.is(200);
    }
    scene.try_sign_in("victim", PASSWORD).await.refused(429, "rate_limited");

    // Codes are counted by themselves; with the right password before it, the right one ends the lock.
    let demand = demand.unwrap();
    let wrong = authenticator.wrong_code(&scene);
    scene.answer(&demand.token, &wrong).await.refused(401, "invalid_otp");
    scene.try_sign_in("careful", PASSWORD).await.refused(429, "rate_limited");
    scene.answer(&demand.token, &authenticator.next_code(&scene)).await.is(200);
    scene.demand("careful").await;
    scene.try_sign_in("victim", PASSWORD).await.refused(429, "rate_limited");

    scene.clock.advance(Duration::from_hours(24));
    scene.sign_in("victim").await.me().await;
}

//
#[tokio::test]
async fn a_restart_forgives_nobody() {
    let scene = Scene::new().await;
    scene.user("victim").await;
    for _ in 0..3 {
        scene.try_sign_in("victim", WRONG).await.is(401);
        scene.clock.advance(Duration::from_secs(3));
    }
    scene.try_sign_in("victim", WRONG).await.is(401);
    let again = scene.restarted_with(&[]).await;
    again.try_sign_in("victim", PASSWORD).await.refused(429, "rate_limited");
    scene.clock.advance(Duration::from_secs(3));
    again.try_sign_in("victim", WRONG).await.is(401);
    again.try_sign_in("victim", PASSWORD).await.refused(429, "rate_limited");
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_instances_have_one_budget() {
    let scene = Scene::with(&[BEHIND_A_PROXY]).await;
    scene.user("victim").await;
    let other = scene.second_instance().await;
    let replies = race(50, |number| {
        let client = if number % 2 == 0 { &*scene as &crate::harness::Client } else { &other };
        client.post("/api/auth/login").json(&json!({"username": "victim", "password": WRONG}))
    })
    .await;
    let looked_at = replies.iter().filter(|reply| reply.status() == 401).count();
    assert!((1..=5).contains(&looked_at), "{looked_at}");
    assert!(replies.iter().all(|reply| matches!(reply.status(), 401 | 429)), "{replies:?}");
    // And one for each client.
    for number in 0..40 {
        let form = [("username", &*format!("name_{number}")), ("password", WRONG)]
            .map(|(name, text)| (name, text.to_owned()));
        let form: Vec<(&str, &str)> = form.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let client = if number % 2 == 0 { &*scene as &crate::harness::Client } else { &other };
        let reply =
            client.post("/api/auth/login").header("x-forwarded-for", "198.51.100.7").form(&form).await;
        assert_eq!(reply.status(), if number < 20 { 401 } else { 429 }, "{number}");
    }
}

//
#[tokio::test]
async fn no_header_gives_a_new_budget_while_no_proxy_is_trusted() {
    // On loopback a client of `local` may try a hundred times as often.
    let scene = Scene::with(&[("THROTTLE_LOGIN", "1/15m")]).await;
    for number in 0..100 {
        scene.try_sign_in(&format!("name_{number}"), WRONG).await.is(401);
    }
    let names = [
        "x-forwarded-for",
        "x-real-ip",
        "forwarded",
        "cf-connecting-ip",
        "true-client-ip",
        "x-client-ip",
        "x_forwarded_for",
        "x-cluster-client-ip",
        "fastly-client-ip",
        "x-originating-ip",
        "via",
    ];
    let values = [
        "203.0.113.5",
        "127.0.0.1",
        "::1",
        "for=203.0.113.9",
        "for=\"[2001:db8::1]:80\"",
        "a, b; DROP TABLE users",
        "203.0.113.5, 203.0.113.6",
        ",,,",
        "unknown",
        "999.999.999.999",
        "\"",
        "for=;by=;",
        "localhost",
    ];
    for name in names {
        for value in values {
            let form = [("username", "another"), ("password", WRONG)];
            let reply = scene.post("/api/auth/login").header(name, value).form(&form).await;
            assert_eq!(reply.status(), 429, "{name}: {value}: {reply:?}");
        }
    }
    let login = "username=another&password=wrong";
    for number in 0..1000 {
        let ip = format!("203.0.{}.{}", number / 250, number % 250);
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("x-forwarded-for", ip.as_str()),
            ("x-forwarded-for", "\u{e9}"),
            ("forwarded", "for=\"_hidden\""),
        ];
        let answer = Wire::to(&scene).send(request("POST", "/api/auth/login", &headers, login)).await;
        assert_eq!(answer.status, 429, "{answer:?}");
    }
    // What counts is where the connection comes from.
    for (from, status) in [(9, 401), (1, 429)] {
        let wire = Wire::to(&scene).from(Ipv4Addr::new(127, 0, 0, from));
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = wire.send(request("POST", "/api/auth/login", &headers, login)).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn behind_a_proxy_the_nearest_stranger_is_the_client() {
    let scene = Scene::with(&[("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")]).await;
    for number in 0..20 {
        // Each claims to be somebody else; the proxy adds the truth on the right.
        let chain = format!("203.0.113.{number}, 198.51.100.7, 10.0.0.{number}");
        scene.login_from(&chain, &format!("name_{number}"), WRONG).await.is(401);
    }
    let hops = vec!["203.0.113.77"; 200].join(", ");
    for chain in [
        "198.51.100.7".to_owned(),
        "203.0.113.200, 198.51.100.7".to_owned(),
        format!("{hops}, 198.51.100.7, 10.1.2.3"),
        "\u{7f}, <script>, 198.51.100.7".replace('\u{7f}', ""),
        "198.51.100.7:4711".to_owned(),
        "::ffff:198.51.100.7".to_owned(),
    ] {
        scene.login_from(&chain, "another", WRONG).await.refused(429, "rate_limited");
    }
    // What can't be read is nobody's word: the proxy itself is the client then, for all of them together.
    let failures = "SELECT CAST(COALESCE(SUM(failures), 0) AS BIGINT) FROM throttles";
    let of_the_proxy = format!("{failures} WHERE bucket = 'sign-in:127.0.0.1'");
    let proxys = || scene.number(&of_the_proxy);
    assert_eq!(proxys().await, 0);
    for (number, broken) in
        ["garbage", "198.51.100.99, garbage", "198.51.100.99,", "unknown"].into_iter().enumerate()
    {
        // Each under another name, which has not to wait for the ones before.
        let reply = scene.login_from(broken, &format!("broken_{number}"), WRONG).await;
        reply.refused(401, "invalid_credentials");
    }
    assert_eq!(proxys().await, 4);
    assert_eq!(
        scene.number("SELECT COUNT(*) FROM throttles WHERE bucket LIKE 'sign-in:198.51.100.99%'").await,
        0
    );
    // Two headers that disagree count for nothing.
    let form = [("username", "one_more"), ("password", WRONG)];
    let ask = scene.post("/api/auth/login").header("x-forwarded-for", "198.51.100.66");
    let reply = ask.header("forwarded", "for=198.51.100.67").form(&form).await;
    reply.refused(401, "invalid_credentials");
    assert_eq!(proxys().await, 5);
    assert_eq!(
        scene.number("SELECT COUNT(*) FROM throttles WHERE bucket LIKE 'sign-in:198.51.100.6%'").await,
        0
    );
}

//
#[tokio::test]
async fn no_spelling_of_the_path_leads_past_the_throttle() {
    let scene = Scene::new().await;
    scene.user("victim").await;
    scene.try_sign_in("victim", WRONG).await.is(401);
    let paths = [
        "//api/auth/login",
        "/api//auth/login",
        "/api/auth//login",
        "/api/auth/login//",
        "/api/./auth/login",
        "/api/x/../auth/login",
        "/API/auth/login",
        "/api/Auth/Login",
        "/%61pi/auth/login",
        "/api%2fauth%2flogin",
        "/api/auth/%6cogin",
        "/api/auth/login;x=1",
        "/api/auth/login%20",
        "/api/auth/login%00",
        "/api/auth/login.json",
        "/api/auth/login%2e",
        "/api\\auth\\login",
        "/api/auth/login/x",
        "/auth/login",
        "/api/api/auth/login",
    ];
    let login = format!("username=victim&password={}", PASSWORD.replace(' ', "+"));
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    for path in paths {
        let answer = Wire::to(&scene).send(request("POST", path, &headers, &login)).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    for path in
        ["/api/auth/login", "/api/auth/login/", "/api/auth/login?x=1", "http://evil.test/api/auth/login"]
    {
        let answer = Wire::to(&scene).send(request("POST", path, &headers, &login)).await;
        assert_eq!(answer.status, 429, "{path}: {answer:?}");
    }
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
        let answer = Wire::to(&scene).send(request(method, "/api/auth/login", &headers, &login)).await;
        assert_eq!(answer.status, 405, "{method}: {answer:?}");
    }
    let options = Wire::to(&scene).send(request("OPTIONS", "/api/auth/login", &headers, "")).await;
    assert_eq!(options.status, 204, "{options:?}");
}

// what is counted is forgotten when its time is over, and not before.
#[tokio::test]
async fn counts_are_bounded_and_a_live_offender_is_not_forgotten() {
    let scene = Scene::with(&[BEHIND_A_PROXY]).await;
    for number in 0..5 {
        scene.try_sign_in("offender", WRONG).await.is(401);
        scene.clock.advance(Duration::from_secs(4 + number));
    }
    scene.try_sign_in("offender", WRONG).await.is(401);
    for number in 0..1000 {
        let from = format!("198.18.{}.{}", number / 250, number % 250);
        scene.login_from(&from, &format!("name_{number}"), WRONG).await;
    }
    let rows = || scene.number("SELECT COUNT(*) FROM throttles");
    assert!(rows().await >= 2000, "{}", rows().await);
    scene.inside.sweep().await.unwrap();
    scene.try_sign_in("offender", PASSWORD).await.refused(429, "rate_limited");
    scene.clock.advance(Duration::from_hours(25));
    scene.inside.sweep().await.unwrap();
    assert_eq!(rows().await, 0);
}

//
#[tokio::test]
async fn one_source_makes_so_many_accounts_and_no_more() {
    let scene = Scene::with(&[BEHIND_A_PROXY]).await;
    let before = scene.hashes().await.done;
    let mut made = 0;
    for number in 0..50 {
        let registration = json!({
            "username": format!("name_{number}"), "email": format!("mallory+{number}@example.com"),
            "password": PASSWORD, "confirm_password": PASSWORD,
        });
        let reply = scene
            .post("/api/auth/register")
            .header("x-forwarded-for", "198.51.100.7")
            .json(&registration)
            .await;
        match reply.status() {
            201 => made += 1,
            _ => drop(reply.refused(429, "rate_limited").status()),
        }
    }
    assert_eq!(made, 30);
    assert_eq!(scene.hashes().await.done - before, 30);
}

//
#[tokio::test]
async fn a_password_too_long_to_be_one_is_not_hashed() {
    let scene = Scene::new().await;
    scene.user("victim").await;
    let before = scene.hashes().await.done;
    for length in [4097, 5000, 30_000] {
        let password = "x".repeat(length);
        let reply = scene.try_sign_in("victim", &password).await;
        reply.invalid(&["password"]);
        let registration = json!({
            "username": "new_one", "email": "new@example.com", "password": password, "confirm_password": password,
        });
        scene.post("/api/auth/register").json(&registration).await.invalid(&["password"]);
    }
    let megabyte = wire::json(
        "POST",
        "/api/auth/login",
        None,
        &json!({"username": "victim", "password": "x".repeat(1 << 20)}),
    );
    for _ in 0..100 {
        let answer = Wire::to(&scene).send(&megabyte).await;
        assert_eq!(answer.status, 413);
    }
    assert_eq!(scene.hashes().await.done, before);
    scene.sign_in("victim").await;
}

// more sign-ins than can be hashed are told to come back, not left waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_right_sign_ins_at_once_are_served_or_told_when() {
    let scene = Scene::with(&[("MAX_CONCURRENT_HASHES", "2")]).await;
    for number in 0..20 {
        scene.user(&format!("name_{number}")).await;
    }
    let requests = (0..200).map(|number| {
        let name = format!("name_{}", number % 20);
        wire::json("POST", "/api/auth/login", None, &json!({"username": name, "password": PASSWORD}))
    });
    let answers = Wire::to(&scene).race(requests.collect()).await;
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 429 | 503), "{answer:?}");
        assert!(answer.status == 200 || answer.text.contains("retry-after: "), "{answer:?}");
    }
    assert!(answers.iter().any(|answer| answer.status == 200));
    assert!(scene.hashes().await.most_running <= 2);
    scene.is_unharmed().await;
}

// who hangs up keeps no place taken, and has tried if anything was looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hanging_up_locks_nobody_out_and_saves_nobody_a_try() {
    let scene = Scene::new().await;
    scene.user("victim").await;
    let before = scene.hashes().await.done;
    for number in 0..200 {
        // Sometimes before anything has happened, sometimes after everything.
        Wire::to(&scene).send_and_leave(wrong("victim"), Duration::from_micros(number * 20)).await;
    }
    let open = "SELECT CAST(COALESCE(SUM(pending), 0) AS BIGINT) FROM throttles";
    let failures =
        "SELECT CAST(COALESCE(SUM(failures), 0) AS BIGINT) FROM throttles WHERE bucket LIKE 'account:%'";
    // What came in last may be looked at after its sender has left.
    let counted = async || {
        let looked_at = scene.hashes().await.done - before;
        (scene.number(open).await, u64::try_from(scene.number(failures).await).unwrap(), looked_at)
    };
    let all_is_booked = |(open, failures, looked_at): &(i64, u64, u64)| *open == 0 && failures == looked_at;
    let (_, _, looked_at) = eventually(|| Box::pin(counted()), all_is_booked).await;
    assert!(looked_at <= 5, "{looked_at}");
    scene.clock.advance(Duration::from_secs(5));
    scene.sign_in("victim").await;
}

// a device is known by the password that it signed in with.
#[tokio::test]
async fn a_new_password_makes_strangers_of_old_devices() {
    let scene = Scene::new().await;
    let victim = scene.user("victim").await;
    let device = device_of(&scene.try_sign_in("victim", PASSWORD).await);
    let new = "sapphire lantern 88 meadow";
    let change = json!({"old_password": PASSWORD, "new_password": new, "confirm_password": new});
    scene.clock.advance(Duration::from_secs(1));
    victim.patch("/api/auth/password/reset").json(&change).await.is(200);
    scene.try_sign_in("victim", PASSWORD).await.is(401);
    let login = json!({"username": "victim", "password": new});
    let reply = scene.post("/api/auth/login").header("cookie", &device).json(&login).await;
    reply.refused(429, "rate_limited");
    scene.clock.advance(Duration::from_secs(1));
    scene.post("/api/auth/login").header("cookie", &device).json(&login).await.is(200);
}
