//! The pages of the door.

use crate::browser::Browser;
use crate::harness::{PASSWORD, TestApp};
use crate::looks::look_at;

#[tokio::test]
async fn whoever_follows_the_set_up_link_becomes_the_admin() {
    let app = TestApp::new().await;
    let link = app.inside.first_start().await.unwrap().expect("a set-up link").expose().to_owned();
    let browser = Browser::open(&app).await;
    browser.go(&format!("/setup?token={link}")).await;
    look_at(&browser, "set-up").await;
    browser.fill("User name", "boss").await;
    browser.fill("Password", PASSWORD).await;
    browser.fill("The same again", PASSWORD).await;
    browser.press("Make the administrator").await;
    browser.until("another page", "return location.pathname !== '/setup'", serde_json::json!([])).await;
    assert!(app.inside.users.has_admin().await.unwrap());
    app.sign_in("boss").await.get("/api/user/").await.is(200);
}

#[tokio::test]
async fn whoever_signs_up_on_the_page_can_sign_in_on_the_other() {
    let app = TestApp::new().await;
    let browser = Browser::open(&app).await;
    browser.go("/signup").await;
    look_at(&browser, "sign-up").await;
    browser.fill("User name", "ann").await;
    browser.fill("E-mail address", "ann@example.com").await;
    browser.fill("Password", "short").await;
    browser.fill("The same again", "short").await;
    browser.press("Sign up").await;
    browser.until_shown("Password:").await;
    let at_field = "const field = document.activeElement;
        return field.id === 'password' && field.getAttribute('aria-invalid') === 'true'
            && field.getAttribute('aria-describedby').split(' ')
                .some(id => document.getElementById(id)?.innerText.startsWith('Password: '))";
    browser.until("the field", at_field, serde_json::json!([])).await;
    look_at(&browser, "sign-up-refused").await;
    browser.fill("Password", PASSWORD).await;
    browser.fill("The same again", PASSWORD).await;
    browser.press("Sign up").await;
    browser.until_gone("The same again").await;

    let browser = Browser::open(&app).await;
    browser.go("/signin").await;
    look_at(&browser, "sign-in").await;
    browser.fill("User name or e-mail address", "ann").await;
    browser.fill("Password", "not that one").await;
    browser.press("Sign in").await;
    browser
        .until("the refusal", "return document.querySelector('[role=alert]') !== null", serde_json::json!([]))
        .await;
    look_at(&browser, "sign-in-refused").await;
    app.clock.advance(std::time::Duration::from_mins(1)); // after a wrong password, the next try has to wait
    browser.sign_in("ann").await;
    let sessions = app.sign_in("ann").await.get("/api/auth/sessions").await.is(200).json();
    assert!(sessions.as_array().is_some_and(|all| all.len() == 3), "{sessions}");
}

#[tokio::test]
async fn the_second_factor_has_a_page_that_can_be_loaded_anew() {
    let app = TestApp::new().await;
    let (authenticator, _) = app.user("ann").await.enrol(&app).await;
    let browser = Browser::open(&app).await;
    browser.go("/signin?next=%2Faccount%2Fsecurity").await;
    browser.fill("User name or e-mail address", "ann").await;
    browser.fill("Password", PASSWORD).await;
    browser.press("Sign in").await;
    browser.until_place("/otp?next=%2Faccount%2Fsecurity").await;
    look_at(&browser, "otp").await;
    browser.reload().await;
    browser.fill("Code", &authenticator.next_code(&app)).await;
    browser.press("Sign in").await;
    browser.until_at("/account/security").await;
}
