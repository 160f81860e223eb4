//! Instances that are replaced one after the other, while people work.

use std::cell::Cell;

use crate::chance::{Dice, rounds};
use crate::client::Client;
use crate::database::PostgresDatabase;
use crate::gatehouse::{Server, Signal};
use crate::ledger::{self, Entries};
use crate::pair::{Redis, shared, start};
use crate::proxy::{Manner, Proxy};
use crate::waiting::{SOON, until_true};

#[tokio::test]
async fn instances_are_replaced_without_a_failed_request_behind_a_proxy_that_asks_who_is_ready() {
    replace_under_load(Manner::Asks).await;
}

#[tokio::test]
async fn instances_are_replaced_without_a_failed_request_behind_a_proxy_that_tries_the_next_one() {
    replace_under_load(Manner::Tries).await;
}

async fn replace_under_load(manner: Manner) {
    let Some(postgres) = PostgresDatabase::new() else { return };
    let (dice, redis) = (Dice::new(), Redis::start(&[]));
    // So much notice that a proxy which asks has asked by then, also where the machine stands still for a while.
    let notice = if manner == Manner::Asks { "3000" } else { "500" };
    let site = shared(postgres, &redis).with("STOP_NOTICE_MILLISECONDS", notice);
    let mut servers = [start(&site, "one").await, start(&site, "other").await];
    let proxy = Proxy::before(&servers.each_ref().map(Server::port), manner).await;
    // Some keep their connections, as browsers do, some take a new one for each request, as many proxies do.
    let (keeping, anew, over) = (Client::new(proxy.port()), Client::anew(proxy.port()), Cell::new(false));
    let replacing = async {
        for _ in 0..rounds(2) {
            for (at, server) in servers.iter_mut().enumerate() {
                tokio::time::sleep(dice.millis(200..800)).await;
                server.signal(Signal::TERM);
                let status = server.ended(SOON).await;
                assert!(status.success(), "{status}:\n{}", server.output());
                *server = start(&site, ["one", "other"][at]).await;
                proxy.put(at, server.port());
                until_true("the proxy uses it", SOON, async || proxy.uses(at)).await;
            }
        }
        tokio::time::sleep(dice.millis(200..800)).await;
        over.set(true);
    };
    let (kept, fresh, ()) =
        tokio::join!(ledger::load(&keeping, &dice, &over), ledger::load(&anew, &dice, &over), replacing);
    println!(
        "{manner:?}: {:?} connections, {} refused; {:?} on kept ones, {:?} on new ones",
        proxy.carried(),
        proxy.refused(),
        kept.answers,
        fresh.answers
    );
    if manner == Manner::Asks {
        assert_eq!(proxy.refused(), 0, "readiness tells it in time");
    }
    let db = site.database().await;
    // A sign-out or a deletion at one instance may be news to the other for so long.
    tokio::time::sleep(gatehouse::platform::freshness::MAX_AGE).await;
    for entries in [kept, fresh] {
        nobody_was_failed(&entries);
        entries.check(&db).await;
        entries.check_server(&anew).await;
    }
    for server in servers {
        server.stop().await;
    }
}

fn nobody_was_failed(entries: &Entries) {
    assert!(entries.cut.is_empty(), "{:#?}", entries.cut);
    let unavailable = entries.answers.get(&503).copied().unwrap_or_default();
    assert_eq!(unavailable, entries.busy, "{:?}", entries.answers);
    assert!(entries.done() > 50, "that is no load: {:?}", entries.answers);
}
