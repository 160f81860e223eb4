//! Names, addresses and passwords in all the alphabets of the world.

use std::time::Duration;

use serde_json::{Value, json};

use super::Scene;
use crate::harness::{PASSWORD, Reply};

async fn register(scene: &Scene, username: &str, email: &str, password: &str) -> Reply {
    let body =
        json!({"username": username, "email": email, "password": password, "confirm_password": password});
    scene.post("/api/auth/register").json(&body).await
}

//
#[tokio::test]
async fn no_two_names_look_alike() {
    let scene = Scene::with(&[("ENVIRONMENT", "local")]).await;
    scene.user("alice_01").await;
    for taken in ["alice_01"] {
        register(&scene, taken, "other@example.com", PASSWORD).await.refused(409, "username_taken");
    }
    for bad in [
        "Alice_01",
        "ALICE_01",
        "аlice_01",
        "alice_01\u{200b}",
        "\u{feff}alice_01",
        "ﬁvefive",
        "alice_01 ",
        " alice_01",
        "a@b_c",
        "alice-01",
        "alice.01",
        "álice",
        "alice\u{301}",
        "ａｌｉｃｅ",
        "K\u{212a}",
        "İstanbul",
        "ıstanbul",
        "straße",
        "ẞ",
        "ﬀ",
        "alice\u{202e}",
        "\u{e0061}lice",
        "alice\u{fe0f}",
        "alice\u{34f}",
        "ali\u{ad}ce",
        "xn--alice",
        "١٢٣٤٥",
        "a".repeat(33).as_str(),
        "",
    ] {
        register(&scene, bad, "other@example.com", PASSWORD).await.invalid(&["username"]);
    }
    let production = [
        ("BASE_URL", "https://id.example.com"),
        ("ENVIRONMENT", "production"),
        ("FRONTEND_URL", "https://id.example.com"),
    ];
    let production = Scene::with(&production).await;
    for short in ["a", "abcd", "1234"] {
        register(&production, short, "other@example.com", PASSWORD).await.invalid(&["username"]);
    }
    register(&production, "abcde", "other@example.com", PASSWORD).await.is(201);
    register(&production, &"b".repeat(32), "third@example.com", PASSWORD).await.is(201);
}

//
#[tokio::test]
async fn one_mailbox_has_one_address() {
    let scene = Scene::new().await;
    register(&scene, "ann", "ann@xn--bcher-kva.example", PASSWORD).await.is(201);
    for (number, twin) in [
        "ANN@XN--BCHER-KVA.EXAMPLE",
        "ann@bücher.example",
        "Ann@BÜCHER.example",
        "ann@bu\u{308}cher.example",
        "ann@ｂücher.example",
        "ann@bücher。example",
        "ann@b\u{200b}ücher.example",
    ]
    .iter()
    .enumerate()
    {
        register(&scene, &format!("twin_{number}"), twin, PASSWORD).await.refused(409, "email_taken");
    }
    register(&scene, "tagged", "ann+news@xn--bcher-kva.example", PASSWORD).await.is(201);
    let local = "l".repeat(64);
    let label = "d".repeat(63);
    let domain = format!("{label}.{label}.{}.example", "e".repeat(53));
    let longest = format!("{local}@{domain}");
    assert_eq!(longest.len(), 254);
    register(&scene, "longest", &longest, PASSWORD).await.is(201);
    for bad in [
        "",
        "@",
        "ann",
        "ann@",
        "@example.com",
        "a@@example.com",
        "a@b@example.com",
        "victim\u{ff20}example.com",
        "\"a@evil.test\"@example.com",
        "\"a\"@example.com",
        "a@x.test,b@evil.test",
        "a@x.test;b@evil.test",
        "a@x.test b@evil.test",
        "a@x.test\r\nBcc: b@evil.test",
        "a@x.test\0",
        "a@x.test.",
        "a@.x.test",
        "a@x..test",
        ".a@x.test",
        "a.@x.test",
        "a..b@x.test",
        "<a@x.test>",
        "Ann <a@x.test>",
        "a(comment)@x.test",
        "a@(comment)x.test",
        "a@[127.0.0.1]",
        "a@[IPv6:::1]",
        "a@127.0.0.1",
        "a@1",
        "a@0x7f.1",
        "a@x_y.test",
        "a@-x.test",
        "a@x-.test",
        "a b@x.test",
        " a@x.test",
        "a@x.test ",
        "a\u{200b}@x.test",
        "\u{202e}a@x.test",
        "ａ@x.test",
        "a@x.test/../",
        "a@x.test?x",
        "a@x.test#x",
        "a@x.test:25",
        "a\\@x.test",
        "a@xn--",
        "a@xn--a",
        "a@xn--x-.test",
        "a%0d@x.test\n",
        "mailto:a@x.test",
        "a@\u{1F4A9}\u{200D}.test ",
        &format!("{}@x.test", "l".repeat(65)),
        &format!("a@{}.test", "d".repeat(64)),
        &format!("l{longest}"),
    ] {
        let reply = register(&scene, "another", bad, PASSWORD).await;
        assert_eq!(reply.status(), 422, "{bad:?}: {reply:?}");
        reply.invalid(&["email"]);
    }
    // A label that decodes to plain ASCII is another spelling of a name that exists (RUSTSEC-2024-0421).
    register(&scene, "another", "ann@xn--example-.com", PASSWORD).await.invalid(&["email"]);
    scene.is_unharmed().await;
}

/// A password of so many code points that nobody guesses.
fn password(length: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letters: Vec<char> = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-".chars().collect();
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        letters[usize::try_from(state >> 33).unwrap() % letters.len()]
    };
    std::iter::repeat_with(next).take(length).collect()
}

//
#[tokio::test]
async fn a_password_counts_to_its_last_letter_whatever_its_length() {
    let scene = Scene::new().await;
    for length in [1, 7, 8, 9] {
        register(&scene, "short", "short@example.com", &password(length)).await.invalid(&["password"]);
    }
    for length in [1025, 4096, 4097] {
        register(&scene, "long", "long@example.com", &password(length)).await.invalid(&["password"]);
    }
    for length in [10, 14, 15, 64, 71, 72, 73, 127, 128, 255, 256, 1023, 1024] {
        let (name, right) = (format!("of_{length}"), password(length));
        register(&scene, &name, &format!("{name}@example.com"), &right).await.is(201);
        let mut wrong = right.clone();
        let last = wrong.pop().unwrap();
        wrong.push(if last == 'x' { 'y' } else { 'x' });
        for almost in
            [wrong, right[..length - 1].to_owned(), right.to_uppercase(), format!(" {}", &right[1..])]
        {
            scene.try_sign_in(&name, &almost).await.refused(401, "invalid_credentials");
            scene.clock.advance(Duration::from_secs(5));
        }
        if length < 1024 {
            scene.try_sign_in(&name, &format!("{right}x")).await.refused(401, "invalid_credentials");
            scene.clock.advance(Duration::from_secs(5));
        }
        scene.try_sign_in(&name, &right).await.is(200);
    }
}

//
#[tokio::test]
async fn a_password_may_be_of_any_script_and_is_never_trimmed_or_cut() {
    let scene = Scene::new().await;
    let emoji: String =
        password(1024).chars().map(|letter| char::from_u32(0x1F300 + u32::from(letter)).unwrap()).collect();
    assert_eq!(emoji.len(), 4096);
    let cases = [
        ("correct horse battery staple", "correct horse battery stapl"),
        ("  spaces at both ends 81  ", "spaces at both ends 81"),
        ("Zwölf große Überraschungen", "Zwolf grosse Uberraschungen"),
        ("пароль из шести случайных слов", "пароль из шести случайных сло"),
        ("パスワードは長いほうがいい電車", "パスワードは長いほうがいい電"),
        ("\u{feff}behind a mark 4711 owls", "behind a mark 4711 owls"),
        ("emoji 👩‍👩‍👧‍👦 family crossing 9", "emoji 👩👩👧👦 family crossing 9"),
        (emoji.as_str(), &emoji[..4092]),
    ];
    for (number, (right, wrong)) in cases.iter().enumerate() {
        let name = format!("name_{number}");
        register(&scene, &name, &format!("{name}@example.com"), right).await.is(201);
        scene.try_sign_in(&name, wrong).await.refused(401, "invalid_credentials");
        scene.clock.advance(Duration::from_secs(2));
        scene.try_sign_in(&name, right).await.is(200);
    }
    // One text in two normal forms, and with a wide space, is one password (RFC 8265, 4.2).
    register(&scene, "normal", "normal@example.com", "caf\u{e9} und zw\u{f6}lf Br\u{f6}tchen").await.is(201);
    scene.try_sign_in("normal", "cafe\u{301} und zwo\u{308}lf Bro\u{308}tchen").await.is(200);
    scene.try_sign_in("normal", "caf\u{e9}\u{3000}und\u{a0}zw\u{f6}lf Br\u{f6}tchen").await.is(200);
    for bad in [
        "\0\0\0\0\0\0\0\0\0\0\0\0",
        "abc\0defghi jklm 77",
        "owls and larks 88\0",
        "                    ",
        "password123",
        "bystander1",
        "1234567890",
        "qwertyuiop",
        "aaaaaaaaaaaaaaaa",
    ] {
        register(&scene, "another", "another@example.com", bad).await.invalid(&["password"]);
    }
    // Nothing that the owner is known by.
    register(&scene, "wonderland_7", "another@example.com", "Wonderland_7!").await.invalid(&["password"]);
    let lone = format!(
        "{{\"username\":\"another\",\"email\":\"a@example.com\",\"password\":\"{PASSWORD}\\ud800\",\"confirm_password\":\"{PASSWORD}\\ud800\"}}"
    );
    scene.post("/api/auth/register").body("application/json", lone).await.is(400);
}

// lengths are counted in code points.
#[tokio::test]
async fn names_and_descriptions_have_room_for_so_many_code_points() {
    let scene = Scene::with(&[("DISPLAY_NAME_FREE", "True")]).await;
    let ann = scene.user("ann").await;
    for unit in ["x", "é", "田", "😀", "e\u{301}"] {
        let of = |length: usize| unit.chars().cycle().take(length).collect::<String>();
        for (field, most) in [
            ("display_name", 64),
            ("first_name", 64),
            ("middle_name", 64),
            ("last_name", 64),
            ("description", 256),
        ] {
            let reply = ann.patch(&ann.path()).json(&json!({(field): of(most)})).await;
            assert_eq!(reply.is(200).json()[field], Value::from(of(most)), "{field} {unit}");
            ann.patch(&ann.path()).json(&json!({(field): of(most + 1)})).await.invalid(&[field]);
        }
    }
}
