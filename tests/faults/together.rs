//! Several instances on one database, started in the same moment.

use std::cell::Cell;

use futures_util::future::join_all;
use gatehouse::migrations::STEPS;

use crate::chance::Dice;
use crate::database::{column, count};
use crate::gatehouse::{PASSWORD, Server, Site};
use crate::ledger;
use crate::migrations::schema;
use crate::waiting::{SOON, until_true};

const INSTANCES: usize = 5;

#[tokio::test]
async fn instances_that_start_together_agree_on_schema_key_and_first_admin() {
    let site = Site::new().with("ADMIN_USERNAME", "root").with("ADMIN_PASSWORD", PASSWORD);
    let servers = start_together(&site).await;
    let db = site.database().await;
    assert_eq!(column::<String>(&db, "SELECT name FROM schema_steps ORDER BY position").await, names());
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

/// So many steps below the newest are the schemas that instances find: some of them lack the events.
const OLDER: [usize; 2] = [1, 6];

#[tokio::test]
async fn instances_that_start_together_on_an_older_schema_bring_it_up_once_and_keep_everybody() {
    let (dice, site) = (Dice::new(), Site::new());
    let mut everybody = Vec::new();
    for older in OLDER {
        let server = site.start().await;
        let (client, over) = (server.client(), Cell::new(false));
        let working = async {
            tokio::time::sleep(dice.millis(500..1000)).await;
            over.set(true);
        };
        let (entries, ()) = tokio::join!(ledger::load(&client, &dice, &over), working);
        server.stop().await;
        everybody.push(entries);

        let db = site.database().await;
        let newest = schema(&db).await;
        site.must(&["migrate", "down", "--to", STEPS[STEPS.len() - 1 - older].name]);
        assert_ne!(schema(&db).await, newest);
        let servers = start_together(&site).await;
        assert_eq!(schema(&db).await, newest);
        assert_eq!(column::<String>(&db, "SELECT name FROM schema_steps ORDER BY position").await, names());
        // The log is written by a thread of its own, and may come later than the answer to a request.
        let migrated = || servers.iter().filter(|server| server.output().contains("migrated the database"));
        until_true("the log tells of it", SOON, async || migrated().count() > 0).await;
        assert_eq!(migrated().count(), 1, "one of them has done it");
        for entries in &everybody {
            entries.check_people(&db).await;
        }
        // Also with the tokens of before.
        everybody[everybody.len() - 1].check_server(&servers[older % INSTANCES].client()).await;
        for server in servers {
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn every_set_up_link_of_instances_that_start_together_works_until_one_is_used() {
    let site = Site::new();
    let servers = start_together(&site).await;
    let links: Vec<String> = servers.iter().map(set_up_link).collect();
    let kept = count(&site.database().await, "SELECT count(*) FROM one_time_tokens").await;
    assert_eq!(usize::try_from(kept), Ok(INSTANCES));
    let fields = |token: &str| {
        let all =
            [("token", token), ("username", "boss"), ("password", PASSWORD), ("confirm_password", PASSWORD)];
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let mut statuses = Vec::new();
    for link in &links {
        statuses.push(servers[0].client().submit("/setup", &fields(link)).await);
    }
    assert_eq!(statuses, [303, 401, 401, 401, 401], "{links:?}");
    join_all(servers.into_iter().map(Server::stop)).await;
}

/// The names of all steps.
fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// The token of the link that a server has printed.
fn set_up_link(server: &Server) -> String {
    let output = server.output();
    let (_, link) = output.split_once("/setup?token=").expect("a set-up link");
    link.split_whitespace().next().unwrap().to_owned()
}

async fn start_together(site: &Site) -> Vec<Server<'_>> {
    let mut servers: Vec<Server> = (0..INSTANCES).map(|_| site.launch()).collect();
    join_all(servers.iter_mut().map(Server::ready)).await;
    servers
}
