//! What a test stands on: the program on a fresh database, people who use it, and what they are answered.
//!
//! [`TestApp`] is opened as production opens it and served on a port of loopback by the real server; only the clock
//! is the test's. [`Actor`]s have signed up or were made by an admin, over HTTP. Each answer is a [`Reply`], which
//! has been held to what every answer must be before the test sees it.

mod actor;
mod ask;
mod contract;
mod mail;
mod reply;
mod second_factor;
mod storage;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse::app::App;
use gatehouse::platform::clock::{Clock, Timestamp};
use gatehouse::platform::config::Config;
use gatehouse::platform::random::Random;
use gatehouse::server::{Limits, Server};
use serde_json::json;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

pub use actor::{Actor, claims};
pub use ask::{Ask, Client, with_query};
use contract::Contract;
pub use mail::Mail;
pub use reply::Reply;
pub use second_factor::{Authenticator, Demand, STEP, recovery_codes};
pub use storage::Storage;

/// When every test begins: 2026-01-01, 00:00 UTC.
pub const START: Timestamp = Timestamp::from_seconds(1_767_225_600);
/// A password that everybody may have.
pub const PASSWORD: &str = "velvet otter 27 granite";

/// The program, served. Itself it asks as somebody who is not signed in.
pub struct TestApp {
    /// The program's inside, for what has no operation: `inside.sweep()`, `inside.first_start()`.
    pub inside: Box<App>,
    /// The time of this program and of its other instances.
    pub clock: Clock,
    /// The settings beyond the defaults.
    settings: Vec<(String, String)>,
    storage: Arc<Storage>,
    anyone: Client,
    stop: CancellationToken,
}

impl TestApp {
    /// The program on a fresh database.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The same with these settings.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Self::serve(settings, Clock::manual(START), Arc::new(Storage::migrated().await)).await
    }

    /// Another instance of the program on the same database, as behind a load balancer. What one changes the other
    /// sees within a second of real time: [`eventually`].
    pub async fn second_instance(&self) -> Self {
        self.restarted_with(&[]).await
    }

    /// Another instance with more settings, on the same database.
    pub async fn restarted_with(&self, more: &[(&str, &str)]) -> Self {
        let mut settings = self.settings.clone();
        settings.extend(more.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        Self::serve(settings, self.clock.clone(), Arc::clone(&self.storage)).await
    }

    async fn serve(settings: Vec<(String, String)>, clock: Clock, storage: Arc<Storage>) -> Self {
        let mut pairs = vec![("DATABASE_URI", storage.uri()), ("DATABASE_MAX_CONNECTIONS", "8")];
        for (name, text) in &settings {
            pairs.retain(|(present, _)| present != name);
            pairs.push((name, text));
        }
        let config = Config::for_tests(storage.folder(), &pairs);
        let opened = App::open(config, clock.clone(), Random::System).await;
        let inside = Box::new(opened.expect("the program opens"));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let limits = Limits::stopping_within(inside.config.server.shutdown_timeout);
        let server = Server::bind(address, limits).expect("a port");
        let document = inside.document();
        let endpoint = inside.endpoint(&document).expect("the routes fit together");
        let contract = Arc::new(Contract::new(document));
        let anyone = Client::of(server.local_addr().expect("an address")).held_to(contract);
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(endpoint, stop.clone()));
        Self { inside, clock, settings, storage, anyone, stop }
    }

    /// Somebody who signs up over HTTP as `name`, with the address `name@example.com` and [`PASSWORD`]; with mail on,
    /// the address is proved then.
    pub async fn user(&self, name: &str) -> Actor {
        let address = format!("{name}@example.com");
        let reply = self.sign_up(name, &address, PASSWORD).await;
        if reply.status() == 202 {
            let token = self.mail_to(&address, "verification").await.token();
            self.verify(&token).await.is(200);
            return self.sign_in(name).await;
        }
        Actor::with_tokens(&self.anyone, name, &reply.is(201).json())
    }

    /// The admin of this program, made as by the command line and signed in. Another call is another session.
    pub async fn admin(&self) -> Actor {
        if !self.inside.users.has_admin().await.expect("an answer of the database") {
            let made = self.inside.auth.create_admin("root", Some("root@example.com"), PASSWORD).await;
            made.expect("an admin");
        }
        self.sign_in("root").await
    }

    /// A moderator, made by the admin and signed in. Another call is another session.
    pub async fn moderator(&self) -> Actor {
        self.made_by_admin("mods", &["moderator", "user"]).await
    }

    /// A tester and nothing else, made by the admin and signed in. Another call is another session.
    pub async fn tester(&self) -> Actor {
        self.made_by_admin("tess", &["tester"]).await
    }

    /// Somebody whom the admin has banned; they still have their tokens. To be called once.
    pub async fn banned(&self) -> Actor {
        let banned = self.user("banned").await;
        let ban = format!("/api/admin/ban/{}", banned.id);
        self.admin().await.post(&ban).json(&json!({"reason": "spam"})).await.is(200);
        banned
    }

    /// Somebody with these roles, made by the admin if there is none of the name, and signed in.
    pub async fn made_by_admin(&self, name: &str, roles: &[&str]) -> Actor {
        let admin = self.admin().await;
        let new = json!({
            "username": name, "email": format!("{name}@example.com"), "password": PASSWORD, "roles": roles,
        });
        let reply = admin.post("/api/user/").json(&new).await;
        assert!(matches!(reply.status(), 201 | 409), "{reply:?}");
        self.sign_in(name).await
    }

    /// `name` signed in with [`PASSWORD`], in a new session.
    pub async fn sign_in(&self, name: &str) -> Actor {
        let reply = self.try_sign_in(name, PASSWORD).await;
        Actor::with_tokens(&self.anyone, name, &reply.is(200).json())
    }

    /// What signing in with this password answers.
    pub async fn try_sign_in(&self, name: &str, password: &str) -> Reply {
        self.post("/api/auth/login").json(&json!({"username": name, "password": password})).await
    }
}

impl Deref for TestApp {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.anyone
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs `act` `count` times at the same moment; the answers in the order of the numbers. The test must run on more
/// than one thread: `#[tokio::test(flavor = "multi_thread", worker_threads = 4)]`.
pub async fn race<F, A>(count: usize, act: F) -> Vec<<A as IntoFuture>::Output>
where
    F: Fn(usize) -> A,
    A: IntoFuture<IntoFuture: Send + 'static, Output: Send + 'static>,
{
    assert_eq!(Handle::current().runtime_flavor(), RuntimeFlavor::MultiThread, "a race needs threads");
    let start = Arc::new(Barrier::new(count));
    let runners = (0..count).map(|number| {
        let (start, act) = (Arc::clone(&start), act(number).into_future());
        tokio::spawn(async move {
            start.wait().await;
            act.await
        })
    });
    let runners: Vec<_> = runners.collect();
    let mut results = Vec::with_capacity(count);
    for runner in runners {
        results.push(runner.await.expect("no runner panics"));
    }
    results
}

/// How long what must happen may take, however busy the machine is: nothing is promised by it.
const SOON: Duration = Duration::from_mins(1);

/// Asks until the answer is as it must become, for a minute at most.
pub async fn eventually<A, T>(mut ask: impl FnMut() -> A, is_good: impl Fn(&T) -> bool) -> T
where
    A: IntoFuture<Output = T>,
    T: std::fmt::Debug,
{
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        if is_good(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < SOON, "it stayed {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Does `work`, and says how long it took, but for the time for which the machine let nobody here do anything.
pub fn timed<W: IntoFuture>(work: W) -> impl Future<Output = (W::Output, Duration)> {
    const TICK: Duration = Duration::from_millis(20);
    // In a box: tests hand over large ones.
    let mut work = Box::pin(work.into_future());
    async move {
        let (begun, mut stood_still) = (Instant::now(), Duration::ZERO);
        loop {
            let tick = Instant::now();
            let done = tokio::time::timeout(TICK, &mut work).await;
            stood_still += tick.elapsed().saturating_sub(TICK * 2);
            if let Ok(output) = done {
                return (output, begun.elapsed().saturating_sub(stood_still));
            }
        }
    }
}
