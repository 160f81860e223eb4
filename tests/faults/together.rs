//! Several instances on one database, started in the same moment.

use futures_util::future::join_all;

use crate::database::{column, count};
use crate::gatehouse::{PASSWORD, Server, Site};

const INSTANCES: usize = 5;

#[tokio::test]
async fn instances_that_start_together_agree_on_schema_key_and_first_admin() {
    let site = Site::new().with("ADMIN_USERNAME", "root").with("ADMIN_PASSWORD", PASSWORD);
    let servers = start_together(&site).await;
    let db = site.database().await;
    let steps: Vec<String> = column(&db, "SELECT name FROM schema_steps ORDER BY position").await;
    assert_eq!(steps, gatehouse::migrations::STEPS.iter().map(|step| step.name).collect::<Vec<_>>());
    assert_eq!(count(&db, "SELECT count(*) FROM signing_keys").await, 1);
    assert_eq!(column::<String>(&db, "SELECT username FROM users").await, ["root"]);
    assert_eq!(count(&db, "SELECT count(*) FROM user_history").await, 1);
    // What one has signed, the others take.
    let token = servers[0].client().sign_in("root", PASSWORD).await.unwrap().text("access_token");
    for server in servers {
        assert_eq!(server.client().me(&token).await.unwrap().text("username"), "root");
        server.stop().await;
    }
}

#[tokio::test]
async fn of_the_set_up_links_of_instances_that_start_together_one_works() {
    let site = Site::new();
    let servers = start_together(&site).await;
    let db = site.database().await;
    assert_eq!(count(&db, "SELECT count(*) FROM one_time_tokens").await, 1);
    join_all(servers.into_iter().map(Server::stop)).await;
}

async fn start_together(site: &Site) -> Vec<Server<'_>> {
    let mut servers: Vec<Server> = (0..INSTANCES).map(|_| site.launch()).collect();
    join_all(servers.iter_mut().map(Server::ready)).await;
    servers
}
