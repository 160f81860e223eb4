//! Order, parts of a list and the way from one to the next.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::{USERS, make, make_many, names, there_and_back, total};
use crate::harness::{Actor, TestApp, with_query};

#[tokio::test]
async fn the_oldest_comes_first_unless_asked_otherwise() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make_many(&app, &admin, "u", 3).await;
    let ascending = ["root", "u000", "u001", "u002"];
    for (query, expected) in [
        ("", ascending.to_vec()),
        ("?order=asc", ascending.to_vec()),
        ("?order=desc", ascending.into_iter().rev().collect()),
        ("?sort=created_at", ascending.to_vec()),
        ("?sort=username&order=desc", vec!["u002", "u001", "u000", "root"]),
    ] {
        let reply = admin.get(&format!("{USERS}{query}")).await;
        assert_eq!(
            (names(&reply), total(&reply)),
            (expected.iter().map(ToString::to_string).collect(), 4),
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_last_changed_can_come_first() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make_many(&app, &admin, "u", 3).await;
    app.clock.advance(Duration::from_secs(1));
    let id = admin.get("/api/user/@u000").await.json()["uuid"].as_str().unwrap().to_owned();
    admin.patch(&format!("{USERS}{id}")).json(&json!({"description": "x"})).await.is(200);
    let reply = admin.get(&format!("{USERS}?sort=updated_at&order=desc")).await;
    assert_eq!(names(&reply), ["u000", "u002", "u001", "root"]);
}

#[tokio::test]
async fn a_list_is_cut_by_offset_or_by_page() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make_many(&app, &admin, "u", 24).await;
    let all = names(&admin.get(USERS).await);
    assert_eq!(all.len(), 25);
    for (query, range) in [
        ("offset=20", 20..25),
        ("skip=20", 20..25),
        ("offset=3&limit=4", 3..7),
        ("limit=4", 0..4),
        ("offset=25", 25..25),
        ("offset=1000000", 25..25),
        ("page=1", 0..10),
        ("page=3", 20..25),
        ("page=2&per_page=7", 7..14),
        ("per_page=100", 0..25),
        ("page=4&per_page=10", 25..25),
    ] {
        let reply = admin.get(&format!("{USERS}?{query}")).await;
        assert_eq!((names(&reply), total(&reply)), (all[range].to_vec(), 25), "{query}");
    }
}

#[tokio::test]
async fn a_hundred_are_shown_unless_asked_otherwise() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make_many(&app, &admin, "u", 101).await;
    for (query, shown) in [("", 100), ("?limit=1000", 102), ("?page=1", 10)] {
        let reply = admin.get(&format!("{USERS}{query}")).await;
        assert_eq!((names(&reply).len(), total(&reply)), (shown, 102), "{query}");
    }
}

#[tokio::test]
async fn links_lead_to_the_neighbours() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make_many(&app, &admin, "u", 9).await;
    let all = names(&admin.get(USERS).await);
    for (query, next, previous) in [
        ("offset=0&limit=4", Some(4..8), None),
        ("offset=4&limit=4", Some(8..10), Some(0..4)),
        ("offset=8&limit=4", None, Some(4..8)),
        ("page=1&per_page=5", Some(5..10), None),
        ("page=2&per_page=5", None, Some(0..5)),
    ] {
        let reply = admin.get(&format!("{USERS}?{query}")).await;
        for (relation, range) in [("next", next), ("prev", previous)] {
            let Some(range) = range else {
                assert_eq!(reply.link(relation), None, "{relation} of {query}");
                continue;
            };
            let neighbour = admin.get(&reply.link(relation).expect(relation)).await;
            assert_eq!(names(&neighbour), all[range], "{relation} of {query}");
        }
        let size = names(&admin.get(&reply.link("first").expect("first")).await).len();
        assert_eq!(names(&admin.get(&reply.link("first").unwrap()).await), all[..size]);
    }
    assert!(admin.get(USERS).await.header("link").unwrap().contains("http://localhost:8000/api/user"));
}

/// Every name that following `next` shows; before each step but the first, `between` is done.
async fn walk(admin: &Actor, first: &str, between: impl AsyncFn(usize)) -> Vec<String> {
    let mut seen = Vec::new();
    let mut path = Some(first.to_owned());
    let mut step = 0;
    while let Some(here) = path {
        let reply = admin.get(&here).await;
        seen.extend(names(&reply));
        path = reply.link("next");
        between(step).await;
        step += 1;
        assert!(step < 100, "no end");
    }
    seen
}

#[tokio::test]
async fn a_cursor_leads_to_the_end_without_loss_or_repeat_while_rows_are_added() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make_many(&app, &admin, "m", 22).await;
    for sort in ["created_at", "username", "updated_at"] {
        for order in ["asc", "desc"] {
            let all: BTreeSet<String> =
                names(&admin.get(&format!("{USERS}?limit=1000")).await).into_iter().collect();
            let add = async |step: usize| {
                for place in ["a", "m", "z"].iter().filter(|_| step < 6) {
                    let name = format!("{place}_{sort}_{order}_{step}");
                    make(&app, &admin, &name, &json!({})).await;
                }
            };
            let seen = walk(&admin, &format!("{USERS}?limit=5&sort={sort}&order={order}"), add).await;
            let unique: BTreeSet<String> = seen.iter().cloned().collect();
            assert_eq!(unique.len(), seen.len(), "{sort} {order}: somebody came twice");
            assert!(all.is_subset(&unique), "{sort} {order}: lost {:?}", all.difference(&unique));
        }
    }
}

#[tokio::test]
async fn a_cursor_loses_nobody_while_rows_are_deleted() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make_many(&app, &admin, "u", 20).await;
    let all = names(&admin.get(&format!("{USERS}?sort=username")).await);
    let delete = async |step: usize| {
        // The very row that the cursor points at, and one before it.
        for name in all.iter().skip(step * 4 + 2).take(2) {
            let user = admin.get(&format!("/api/user/@{name}")).await.json();
            if name != "root" {
                admin.delete(&format!("{USERS}{}", user["uuid"].as_str().unwrap())).await.is(200);
            }
        }
    };
    let seen = walk(&admin, &format!("{USERS}?limit=4&sort=username"), delete).await;
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_cursor_keeps_the_filters_and_the_order() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make_many(&app, &admin, "xa", 6).await;
    make_many(&app, &admin, "xb", 6).await;
    let seen = walk(&admin, &format!("{USERS}?q=xa&limit=4&sort=username&order=desc"), async |_| ()).await;
    assert_eq!(seen, ["xa005", "xa004", "xa003", "xa002", "xa001", "xa000"]);
}

#[tokio::test]
async fn rows_of_the_same_moment_are_all_shown_once() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for number in 0..12 {
        admin.post(USERS).json(&json!({"username": format!("u{number}")})).await.is(201);
    }
    for order in ["asc", "desc"] {
        let mut seen = walk(&admin, &format!("{USERS}?limit=5&order={order}"), async |_| ()).await;
        seen.sort_unstable();
        let mut all = names(&admin.get(USERS).await);
        all.sort_unstable();
        assert_eq!(seen, all);
    }
}

#[tokio::test]
async fn a_cursor_leads_back_the_way_it_came() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make_many(&app, &admin, "u", 6).await;
    // Of one moment: the ids decide.
    for number in 6..10 {
        admin.post(USERS).json(&json!({"username": format!("u{number:03}")})).await.is(201);
    }
    for sort in ["created_at", "username", "updated_at"] {
        for order in ["asc", "desc"] {
            let all = admin.get(&format!("{USERS}?sort={sort}&order={order}")).await.is(200).json();
            let parts = there_and_back(&admin, &format!("{USERS}?sort={sort}&order={order}&limit=3")).await;
            assert_eq!(json!(parts.concat()), all, "{sort} {order}");
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 2], "{sort} {order}");
        }
    }
}

#[tokio::test]
async fn the_way_back_shows_who_came_before_and_leaves_out_who_is_gone() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for name in ["u10", "u20", "u30", "u40", "u50"] {
        make(&app, &admin, name, &json!({})).await;
    }
    let list = format!("{USERS}?q=u&sort=username&limit=2");
    let first = admin.get(&list).await;
    let second = admin.get(&first.link("next").unwrap()).await;
    assert_eq!(names(&second), ["u30", "u40"]);
    let back = second.link("prev").unwrap();
    make(&app, &admin, "u25", &json!({})).await;
    let nearer = admin.get(&back).await;
    assert_eq!(names(&nearer), ["u20", "u25"]);
    assert_eq!(names(&admin.get(&nearer.link("prev").unwrap()).await), ["u10"]);
    assert_eq!(names(&admin.get(&nearer.link("next").unwrap()).await), ["u30", "u40"]);
    // Even the very row that the cursor points at.
    for name in ["u30", "u20"] {
        let user = admin.get(&format!("/api/user/@{name}")).await.json();
        admin.delete(&format!("{USERS}{}", user["uuid"].as_str().unwrap())).await.is(200);
    }
    let nearest = admin.get(&back).await;
    assert_eq!(names(&nearest), ["u10", "u25"]);
    assert_eq!(nearest.link("prev"), None);
    assert_eq!(names(&admin.get(&nearest.link("next").unwrap()).await), ["u40", "u50"]);
}

#[tokio::test]
async fn what_is_out_of_range_is_refused() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1e2", "limit"),
        ("limit=+5", "limit"),
        ("offset=-1", "offset"),
        ("offset=99999999999999999999", "offset"),
        ("skip=x", "skip"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=9223372036854775807&per_page=100", "page"),
        ("per_page=0", "per_page"),
        ("per_page=101", "per_page"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("order=up", "order"),
        ("order=ASC", "order"),
        ("sort=email", "sort"),
        ("sort=password_hash", "sort"),
        ("role=root", "role"),
        ("is_active=maybe", "is_active"),
        ("deleted=1x", "deleted"),
        ("q=%00", "q"),
        ("limit=1&limit=2", "limit"),
        ("q=a&q=b", "q"),
    ] {
        let reply = admin.get(&format!("{USERS}?{query}")).await;
        assert_eq!(reply.status(), 422, "{query}: {reply:?}");
        reply.invalid(&[field]);
    }
    for query in
        ["page=1&offset=0", "page=1&limit=5", "offset=0&skip=0", "offset=1&cursor=x", "page=1&cursor=x"]
    {
        admin.get(&format!("{USERS}?{query}")).await.is(422);
    }
    admin.get(&with_query(USERS, &[("q", &"x".repeat(300))])).await.invalid(&["q"]);
}

#[tokio::test]
async fn a_cursor_is_good_for_the_list_that_it_came_from() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make_many(&app, &admin, "u", 3).await;
    let next = admin.get(&format!("{USERS}?limit=2&sort=username")).await.link("next").unwrap();
    let cursor = next.split("cursor=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    admin.get(&format!("{USERS}?cursor={cursor}&sort=username")).await.is(200);
    admin.get(&format!("{USERS}?cursor={cursor}&sort=created_at")).await.invalid(&["cursor"]);
    let mut forged = cursor.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.push(last);
    admin.get(&format!("{USERS}?cursor={forged}&sort=username")).await.invalid(&["cursor"]);
    let elsewhere =
        TestApp::with(&[("JWT_SECRET_KEY", "another master secret, 9vX2mT4kLbW8zR1nYcJ7hD3g")]).await;
    let stranger = elsewhere.admin().await;
    stranger.get(&format!("{USERS}?cursor={cursor}&sort=username")).await.invalid(&["cursor"]);
}
