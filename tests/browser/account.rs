//! The account, as its owner uses it.

use std::path::Path;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Authenticator, PASSWORD, Reply, TestApp};
use crate::looks::look_at;

/// A picture that is at hand.
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/static/logo.png");

#[tokio::test]
async fn every_page_of_the_account_looks_well_and_can_be_read() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    ann.patch(&ann.path())
        .json(&json!({"display_name": "ANN", "description": "Likes otters."}))
        .await
        .is(200);
    ann.patch(&format!("{}/blocked_users?add={}", ann.path(), bob.id)).await.is(200);
    let browser = Browser::of(&app, "ann").await;
    for (path, name) in [
        ("/account", "account"),
        ("/account/security", "account-security"),
        ("/account/connections", "account-connections"),
        ("/account/data", "account-data"),
        ("/account?lang=de", "account-german"),
        ("/account/security?lang=fr", "account-security-french"),
        ("/logout?lang=en", "logout"),
        ("/terms", "terms"),
        ("/privacy", "privacy"),
        ("/support", "support"),
    ] {
        browser.go(path).await;
        look_at(&browser, name).await;
    }
    let browser = Browser::open(&app).await;
    for (path, name) in [
        ("/", "home"),
        ("/forgot-password/request", "forgot"),
        ("/reset-password/reset?token=x", "reset"),
        ("/verify?token=x", "verify"),
        ("/verify/request", "verify-request"),
        ("/dev/inbox", "inbox"),
    ] {
        browser.go(path).await;
        look_at(&browser, name).await;
    }
}

#[tokio::test]
async fn the_profile_is_changed_and_a_name_put_back() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let browser = Browser::of(&app, "ann").await;
    browser.go("/account").await;
    browser.fill("Shown name", "ANN").await;
    browser.fill("First name", "Ann <b>").await;
    browser.fill("About you", "Likes otters.").await;
    browser.choose("Language", "English").await;
    browser.press("Save").await;
    browser.until_shown("Saved.").await;
    let me = ann.me().await;
    assert_eq!((&me["display_name"], &me["first_name"]), (&json!("ANN"), &json!("Ann <b>")));
    assert_eq!((&me["description"], &me["locale"]), (&json!("Likes otters."), &json!("en")));
    // What is wrong is said at its field, in its words.
    browser.fill("Shown name", "somebody else").await;
    browser.press("Save").await;
    browser.until_shown("Must be the username; only capitals").await;
    let at_field = "const field = document.activeElement;
        return field.id === 'display_name' && field.getAttribute('aria-invalid') === 'true'
            && field.getAttribute('aria-describedby').split(' ').some(id => document.getElementById(id)?.className === 'field-problem')";
    browser.until("the field", at_field, json!([])).await;
    look_at(&browser, "account-refused").await;

    browser.go("/account/data").await;
    browser.press("Undo: back to ann").await;
    browser.until_shown("It is as it was.").await;
    assert_eq!(ann.me().await["display_name"], "ann");
}

#[tokio::test]
async fn a_picture_is_cut_out_and_taken() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let browser = Browser::of(&app, "ann").await;
    browser.go("/account").await;
    browser.give_file("#picture-file", Path::new(PICTURE)).await;
    browser.until_shown("Cut out the picture").await;
    look_at(&browser, "account-crop").await;
    let drawn = "const canvas = document.getElementById('crop-canvas');
        return canvas.getContext('2d').getImageData(160, 20, 1, 1).data[3] > 0";
    browser.until("the picture", drawn, json!([])).await;
    // By keys alone, too.
    let moved = "const canvas = document.getElementById('crop-canvas');
        canvas.focus();
        for (const key of ['+', '+', '+', 'ArrowLeft']) canvas.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
        return document.activeElement === canvas && Number(document.getElementById('crop-zoom').value) > 1.2";
    browser.until("closer", moved, json!([])).await;
    browser.press("Use it").await;
    browser.until_shown("Saved.").await;
    let picture = ann.get(&format!("{}/image", ann.path())).await;
    assert_eq!(picture.is(200).header("content-type"), Some("image/png"));
    assert_eq!(ann.me().await["profile_picture"]["file_type"], "image/png");
    browser.press("Remove").await;
    browser.until_shown("Saved.").await;
    crate::harness::eventually(
        || ann.get("/api/user/me"),
        |me: &Reply| me.json()["profile_picture"] == Value::Null,
    )
    .await;
}

#[tokio::test]
async fn a_second_factor_is_set_up_with_a_computed_code_asked_for_and_turned_off() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let browser = Browser::of(&app, "ann").await;
    browser.go("/account/security").await;
    browser.press("Set up an authenticator").await;
    browser.until_shown("Scan this with your authenticator").await;
    browser
        .until("a secret", "return document.getElementById('otp-secret').innerText.length > 15", json!([]))
        .await;
    look_at(&browser, "account-otp").await;
    let secret = browser.texts("#otp-secret").await.remove(0);
    let authenticator =
        Authenticator { uri: format!("otpauth://totp/Gatehouse:ann?secret={secret}&issuer=Gatehouse") };
    browser.fill("Code", &authenticator.wrong_code(&app)).await;
    browser.press("Turn on").await;
    browser.until_shown("The code is wrong").await;
    browser.fill("Code", &authenticator.code(&app)).await;
    browser.press("Turn on").await;
    browser.until_shown("Keep these in a safe place").await;
    look_at(&browser, "account-codes").await;
    let codes = browser.texts("#codes-list li").await;
    assert_eq!(codes.len(), 10, "{codes:?}");
    for _ in 0..2 {
        for event in ["keyDown", "keyUp"] {
            let escape =
                json!({"type": event, "key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27});
            browser.driver.chromium("Input.dispatchKeyEvent", escape).await;
        }
    }
    assert_eq!(browser.texts("#codes-list li").await, codes, "a key does not throw them away");
    browser.press("I have kept them").await;
    browser.until_shown("Signing in asks for a code").await;
    assert!(!browser.shows(&codes[0]).await, "they are shown once");
    look_at(&browser, "account-security-on").await;

    let other = Browser::open(&app).await;
    other.go("/signin?next=%2Faccount%2Fsecurity").await;
    other.fill("User name or e-mail address", "ann").await;
    other.fill("Password", PASSWORD).await;
    other.press("Sign in").await;
    other.until_shown("Second factor").await;
    look_at(&other, "otp").await;
    other.fill("Code", &authenticator.next_code(&app)).await;
    other.press("Sign in").await;
    other.until_at("/account/security").await;
    // It is long ago that the first browser proved who it is: it is asked again, and then goes on.
    app.clock.advance(std::time::Duration::from_mins(11));
    browser.fill("Password", PASSWORD).await;
    browser.press("New recovery codes").await;
    browser.until_shown("Is it you?").await;
    browser.fill("Password", PASSWORD).await;
    browser.fill("Code of the second factor", &authenticator.next_code(&app)).await;
    browser.press("Go on").await;
    browser.until_shown("Keep these in a safe place").await;
    let old = codes;
    let codes = browser.texts("#codes-list li").await;
    assert!(codes.len() == 10 && !codes.iter().any(|code| old.contains(code)), "{codes:?}");
    browser.run("window.isOld = true; return true", json!([])).await;
    browser.press("I have kept them").await;
    let is_new = "return !window.isOld && document.readyState === 'complete'";
    browser.until("the page anew", is_new, json!([])).await;
    app.clock.advance(std::time::Duration::from_mins(11));
    browser.fill("A code, or a recovery code", &codes[1]).await;
    browser.press("Turn off").await;
    browser.until_shown("Is it you?").await;
    look_at(&browser, "account-prove").await;
    browser.fill("Password", "not that one").await;
    browser.fill("Code of the second factor", &authenticator.next_code(&app)).await;
    browser.press("Go on").await;
    browser.until_shown("The password is wrong.").await;
    browser.fill("Password", PASSWORD).await;
    browser.fill("Code of the second factor", &authenticator.next_code(&app)).await;
    browser.press("Go on").await;
    browser.until_shown("The second factor is off.").await;
}

#[tokio::test]
async fn other_sessions_are_ended_and_their_browsers_are_out() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let (here, there) = (Browser::of(&app, "ann").await, Browser::of(&app, "ann").await);
    here.go("/account/security").await;
    here.press("Sign out everywhere else").await;
    here.until_shown("All your other sessions end at once.").await;
    here.press("Sign out everywhere else").await;
    here.until_shown("Signed out there.").await;
    there.go("/account").await;
    there.until_at("/signin").await;
    here.go("/account").await;
    here.press("Sign out").await;
    here.until_shown("You are signed in as").await;
    here.press_at("main button").await;
    here.until_shown("You are signed out.").await;
    here.back().await;
    here.go("/account").await;
    here.until_at("/signin").await;
}

#[tokio::test]
async fn people_are_blocked_by_name_and_let_go_again() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let browser = Browser::of(&app, "ann").await;
    browser.go("/account/connections").await;
    browser.fill("User name", "nobody").await;
    browser.press("Block").await;
    browser.until_shown("There is nothing here, or nothing for you.").await;
    browser.fill("User name", "@bob").await;
    browser.press("Block").await;
    browser.until_shown("Blocked.").await;
    assert_eq!(ann.me().await["blocked_uuids"], json!([bob.id]));
    bob.get(&ann.path()).await.refused(404, "not_found");
    browser.press("Unblock bob").await;
    browser.until_shown("You block nobody.").await;
    assert_eq!(ann.me().await["blocked_uuids"], json!([]));
}

#[tokio::test]
async fn the_password_is_changed_where_one_is_signed_in() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let browser = Browser::of(&app, "ann").await;
    browser.go("/account/security").await;
    let change = async |old: &str, new: &str| {
        browser.fill("Present password", old).await;
        browser.fill("New password", new).await;
        browser.fill("The same again", new).await;
        browser.press("Change the password").await;
    };
    change("not that one", "sapphire lantern 88 meadow").await;
    browser.until_shown("The old password is wrong.").await;
    app.clock.advance(std::time::Duration::from_mins(1)); // after a wrong password, the next try has to wait
    change(PASSWORD, "sapphire lantern 88 meadow").await;
    browser.until_shown("Your password is changed.").await;
    app.try_sign_in("ann", PASSWORD).await.is(401);
    app.clock.advance(std::time::Duration::from_secs(1));
    app.try_sign_in("ann", "sapphire lantern 88 meadow").await.is(200);
}

#[tokio::test]
async fn all_data_goes_along_and_the_account_is_deleted_and_comes_back() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let browser = Browser::of(&app, "ann").await;
    browser.go("/account/data").await;
    let archive = "const done = arguments[arguments.length - 1];
        fetch(document.querySelector('a[download]').href).then(async answer => {
            const bytes = new Uint8Array(await answer.arrayBuffer());
            done([answer.status, answer.headers.get('content-type'), String.fromCharCode(bytes[0], bytes[1])]);
        })";
    let archive = browser.driver.run_async(archive, json!([])).await.unwrap();
    assert_eq!(archive, json!([200, "application/zip", "PK"]));
    browser.press("Delete my account").await;
    browser.until_shown("Do you really want to delete your account?").await;
    look_at(&browser, "account-delete").await;
    browser.press("Cancel").await;
    ann.me().await;
    browser.press("Delete my account").await;
    browser.until_shown("Do you really want to delete your account?").await;
    browser.press("Delete my account").await;
    browser.until_shown("Your account is deleted.").await;
    ann.get("/api/user/me").await.is(401);
    browser.go("/account").await;
    browser.until_at("/signin").await;
    browser.sign_in("ann").await;
    browser.go("/account/data").await;
    browser.until_shown("Account restored").await;
}

#[tokio::test]
async fn the_interactive_documentation_works_with_the_session() {
    let app = TestApp::new().await;
    app.admin().await;
    let browser = Browser::open(&app).await;
    browser.go("/interactive-docs").await;
    browser.fill("User name or e-mail address", "root").await;
    browser.fill("Password", PASSWORD).await;
    browser.press("Sign in").await;
    let authorized = "return document.querySelector('button.authorize.locked') !== null";
    browser.until("who is signed in is authorized", authorized, json!([])).await;
    browser.press_at("[id$='-read_users_me'] .opblock-summary-control").await;
    browser.press_at("[id$='-read_users_me'] .try-out__btn").await;
    browser.press_at("[id$='-read_users_me'] .execute").await;
    let answered = "return [...document.querySelectorAll('.live-responses-table')]
        .some(table => table.innerText.includes('200') && table.innerText.includes('root'))";
    browser.until("the answer", answered, json!([])).await;
}

#[tokio::test]
async fn the_inbox_of_developers_fits_a_small_phone_whatever_it_holds() {
    let app = TestApp::with_mail(&[]).await;
    let address = format!("{}@example.com", "b".repeat(60));
    app.sign_up("bob", &address, PASSWORD).await.is(202);
    let browser = Browser::open(&app).await;
    let phone = json!({"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": true});
    browser.driver.chromium("Emulation.setDeviceMetricsOverride", phone).await;
    browser.go("/dev/inbox").await;
    browser.until_shown(&address).await;
    assert_eq!(browser.run("return document.documentElement.scrollWidth", json!([])).await, json!(360));
}
