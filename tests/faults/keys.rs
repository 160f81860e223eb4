//! Keys that change while servers run and tokens are out.

use futures_util::future::join_all;

use crate::gatehouse::Site;

const FIRST: &str = "6fQ2vX9mT4kLbW8zR1nYcJ7hD3gPsE5a";
const SECOND: &str = "pL0sK7wQe3RtY9uI2oMzXc5VbN8aHd4F";

#[tokio::test]
async fn a_rotated_key_is_taken_up_by_running_servers_and_the_old_one_still_verifies() {
    let site = Site::new();
    let running = site.start().await;
    let old = running.client().sign_up("ann").await.unwrap();
    let before = running.client().keys().await;
    assert!(site.must(&["keys", "rotate"]).contains("signs from now on"));

    // Another instance signs with the new key; the one that runs must take its tokens at once, however many come.
    let other = site.start().await;
    let new = other.client().refresh(&old.text("refresh_token")).await.unwrap();
    let (client, token) = (running.client(), new.text("access_token"));
    for first in join_all((0..8).map(|_| client.me(&token))).await {
        assert_eq!(first.unwrap().status, 200);
    }
    for server in [&other, &running] {
        for token in [&new, &old] {
            let me = server.client().me(&token.text("access_token")).await.unwrap();
            assert_eq!(me.status, 200, "{me:?}");
        }
    }
    let after = running.client().keys().await;
    assert_eq!(after.len(), 2, "{after:?}");
    assert_eq!(after[1], before[0], "the new key comes first");
    assert_eq!(after, other.client().keys().await);
    running.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn another_master_secret_opens_nothing_until_the_earlier_one_is_named_and_all_is_sealed_anew() {
    let site = Site::new().with("JWT_SECRET_KEY", FIRST);
    let server = site.start().await;
    let tokens = server.client().sign_up("ann").await.unwrap();
    server.stop().await;

    let site = site.with("JWT_SECRET_KEY", SECOND);
    let refused = site.run(&[]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(refused.err.contains("JWT_SECRET_KEY_PREVIOUS"), "{}", refused.err);

    let site = site.with("JWT_SECRET_KEY_PREVIOUS", FIRST);
    let server = site.start().await;
    assert_eq!(server.client().me(&tokens.text("access_token")).await.unwrap().status, 200);
    let tokens = server.client().refresh(&tokens.text("refresh_token")).await.unwrap();
    server.stop().await;
    assert_eq!(
        site.must(&["keys", "rewrap"]),
        "1 key(s), 0 second factor(s), 0 provider grant(s) and 0 webhook secret(s) sealed anew\n"
    );
    assert_eq!(
        site.must(&["keys", "rewrap"]),
        "0 key(s), 0 second factor(s), 0 provider grant(s) and 0 webhook secret(s) sealed anew\n"
    );

    let site = site.with("JWT_SECRET_KEY_PREVIOUS", "");
    let server = site.start().await;
    assert_eq!(server.client().me(&tokens.text("access_token")).await.unwrap().status, 200);
    assert_eq!(server.client().refresh(&tokens.text("refresh_token")).await.unwrap().status, 200);
    server.stop().await;
}
