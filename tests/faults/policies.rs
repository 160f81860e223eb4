//! Policy files that are wrong.

use std::fs;

use reqwest::Method;
use serde_json::json;

use crate::database::column;
use crate::gatehouse::{PASSWORD, Site};
use crate::waiting::{SOON, until};

const NONSENSE: &str = "permit(";

#[test]
fn a_start_with_a_bad_policy_file_is_refused_with_file_and_line() {
    let nobody = "// A name is no id.\npermit (principal == Account::\"ann\", action, resource);";
    for (text, told) in
        [(NONSENSE, "own.cedar, line 1: "), (nobody, "own.cedar, line 2: `Account::\"ann\"` ")]
    {
        let site = Site::new();
        let folder = site.data().join("policies");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("own.cedar"), text).unwrap();
        let refused = site.run(&[]);
        assert_eq!(refused.code, Some(78), "{}", refused.all());
        assert!(refused.err.contains(told), "{}", refused.err);
        let check = site.run(&["check"]);
        assert_eq!(check.code, Some(1), "{}", check.all());
        assert!(check.out.contains(told), "{}", check.out);
    }
}

#[tokio::test]
async fn a_running_server_stays_with_its_last_good_policies_and_says_so() {
    let site = Site::new();
    let folder = site.data().join("policies");
    fs::create_dir_all(&folder).unwrap();
    let good = include_str!("../../policies/default.cedar");
    fs::write(folder.join("own.cedar"), good).unwrap();
    let server = site.start().await;
    let client = server.client();
    let token = client.sign_up("ann").await.unwrap().text("access_token");

    edit(&site, NONSENSE);
    readiness_becomes(&server.client(), "degraded").await;
    assert_eq!(client.me(&token).await.unwrap().status, 200, "the last good ones are in force");
    assert_eq!(client.sign_in("ann", PASSWORD).await.unwrap().status, 200);

    edit(&site, good);
    readiness_becomes(&server.client(), "ok").await;
    server.stop().await;
}

#[tokio::test]
async fn policies_of_ones_own_take_away_from_lists_as_they_do_from_single_accounts() {
    let site = Site::new().with("ADMIN_USERNAME", "root").with("ADMIN_PASSWORD", PASSWORD);
    let folder = site.data().join("policies");
    fs::create_dir_all(&folder).unwrap();
    let own = r#"
        @id("privacy") forbid (principal, action == Action::"user:read-private", resource)
            unless { principal == resource };
        @id("unseen") forbid (principal, action == Action::"user:read", resource in Role::"tester");
    "#;
    fs::write(folder.join("own.cedar"), [include_str!("../../policies/default.cedar"), own].concat())
        .unwrap();
    let server = site.start().await;
    let client = server.client();
    let root = client.sign_in("root", PASSWORD).await.unwrap().text("access_token");
    client.sign_up("ann").await.unwrap();
    let new = json!({"username": "tess", "password": PASSWORD, "roles": ["tester", "user"]});
    let made = client.ask(Method::POST, "/user/", &root, Some(new)).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    let everybody = client.ask(Method::GET, "/user/?sort=username", &root, None).await.unwrap();
    let rows: Vec<(&str, bool)> = everybody
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["username"].as_str().unwrap(), row.get("email").is_some()))
        .collect();
    assert_eq!(rows, [("ann", false), ("root", true)]);
    // The number is what it would be without these policies, as the document says.
    let counted = client.ask(Method::GET, "/user/count", &root, None).await.unwrap();
    assert_eq!(counted.body, json!(3));
    server.stop().await;
}

#[tokio::test]
async fn policies_of_ones_own_decide_who_is_mailed_a_link_to_a_new_password() {
    let site = Site::new().with("ADMIN_USERNAME", "root").with("ADMIN_PASSWORD", PASSWORD);
    let folder = site.data().join("policies");
    fs::create_dir_all(&folder).unwrap();
    let own = r#"
        @id("by-hand") forbid (principal, action == Action::"user:reset-mail", resource)
            unless { principal in Role::"admin" };
    "#;
    fs::write(folder.join("own.cedar"), [include_str!("../../policies/default.cedar"), own].concat())
        .unwrap();
    let server = site.start().await;
    let client = server.client();
    let root = client.sign_in("root", PASSWORD).await.unwrap().text("access_token");
    let ann = client.sign_up("ann").await.unwrap().text("access_token");
    for (token, status) in [(ann, 403), (root, 202)] {
        let asked = client.ask(Method::GET, "/auth/password/reset", &token, None).await.unwrap();
        assert_eq!(asked.status, status, "{asked:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn policies_that_are_edited_are_in_the_log_of_what_staff_did() {
    let site = Site::new();
    let folder = site.data().join("policies");
    fs::create_dir_all(&folder).unwrap();
    let good = include_str!("../../policies/default.cedar");
    fs::write(folder.join("own.cedar"), good).unwrap();
    let server = site.start().await;
    let noted = async || -> Vec<String> {
        let sql = "SELECT details FROM audit_log WHERE action = 'policies_changed' ORDER BY number";
        column(&site.database().await, sql).await
    };
    assert_eq!(noted().await, Vec::<String>::new(), "a start is no change");
    edit(&site, NONSENSE);
    readiness_becomes(&server.client(), "degraded").await;
    edit(&site, &format!("{good}\n// edited"));
    let after = until("the edit is in the log", SOON, async || {
        let noted = noted().await;
        if noted.is_empty() { Err("nothing is noted".to_owned()) } else { Ok(noted) }
    })
    .await;
    assert_eq!(after.len(), 1, "what was refused never was in force: {after:?}");
    assert!(after[0].contains(r#""files":["own.cedar"]"#) && after[0].contains("sha256"), "{after:?}");
    server.stop().await;
    site.must(&["audit", "verify"]);
}

/// Edits the file all at once: half of it could be good policies as well.
fn edit(site: &Site, text: &str) {
    let draft = site.folder().join("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, site.data().join("policies/own.cedar")).unwrap();
}

async fn readiness_becomes(client: &crate::client::Client, status: &str) {
    until("the policies are noticed", SOON, async || {
        let (code, report) = client.readiness().await.unwrap();
        assert_eq!(code, 200, "{report}");
        if report["status"] == status { Ok(()) } else { Err(report.to_string()) }
    })
    .await;
}
