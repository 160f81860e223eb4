//! The ledger: who was told what was done, so that it can be held against what is there after the fault.
//!
//! Workers act on people of their own. An act that was answered 2xx is entered as done; one that was answered 503,
//! or not at all, may have happened or not, and its person is left alone from then on. So for every person there are
//! one or two states that the database may show, and no third.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sea_orm::DatabaseConnection;
use serde_json::Value;
use tokio::sync::Notify;

use crate::chance::{Dice, unique};
use crate::client::{Answer, Client};
use crate::database::{column, rows};
use crate::gatehouse::PASSWORD;

/// Clients that write at the same time.
pub const WORKERS: usize = 8;
/// People whom one worker has at most; then it goes on with those it has.
const PEOPLE: usize = 40;
/// Before a worker goes on after an act that was not done.
const PAUSE: Duration = Duration::from_millis(20);

/// What a person may be asked to do.
#[derive(Clone, Debug)]
enum Deed {
    SignUp,
    SignIn,
    Describe(String),
    ChangePassword(String),
    Refresh,
    Delete,
}

/// What the database holds of a person, as far as the ledger knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    description: Option<String>,
    is_deleted: bool,
    lines_of_history: i64,
    events: i64,
    sessions: i64,
}

/// Somebody who acts, with everything that was answered.
#[derive(Clone, Debug)]
pub struct Person {
    username: String,
    password: String,
    /// The password before that.
    former: Option<String>,
    access: String,
    refresh: String,
    spent: Option<String>,
    state: Option<State>,
    maybe: Option<Deed>,
    /// When that was asked.
    since: Option<Instant>,
}

/// How long a refresh whose answer was lost may be asked for again.
const GRACE: Duration = Duration::from_secs(10);
/// Whoever signs in once more has their oldest session ended.
const MOST_SESSIONS: i64 = 100;

/// What a load came to.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// Everybody.
    pub people: Vec<Person>,
    /// Requests that were cut off; one that could not connect is none of them.
    pub cut: Vec<String>,
    /// Answers by status.
    pub answers: HashMap<u16, usize>,
    /// How many 503 said that there are more passwords to be hashed than the processor can hash: no fault of an instance.
    pub busy: usize,
    /// How long each 503 took.
    pub refusals: Vec<Duration>,
}

/// Writes by all workers until `over`.
pub async fn load(client: &Client, dice: &Dice, over: &Cell<bool>) -> Entries {
    load_into(&Book::default(), client, dice, over).await
}

/// The same, into a ledger that others look into meanwhile.
pub async fn load_into(book: &Book, client: &Client, dice: &Dice, over: &Cell<bool>) -> Entries {
    let workers: Vec<Worker> = (0..WORKERS).map(|_| Worker::new(client.clone(), dice.part())).collect();
    book.pages.borrow_mut().extend(workers.iter().map(|worker| Rc::clone(&worker.entries)));
    join_all(workers.into_iter().map(|worker| worker.work(book, over))).await;
    book.copy()
}

/// A ledger that is being written, a page by each worker.
#[derive(Default)]
pub struct Book {
    pages: RefCell<Vec<Rc<RefCell<Entries>>>>,
    entered: Notify,
}

impl Book {
    /// Waits until the next act was answered as done.
    pub async fn next(&self) {
        self.entered.notified().await;
    }

    /// What is entered so far.
    pub fn copy(&self) -> Entries {
        let pages = self.pages.borrow();
        pages.iter().map(|page| page.borrow().clone()).fold(Entries::default(), |mut all, one| {
            all.people.extend(one.people);
            all.cut.extend(one.cut);
            all.refusals.extend(one.refusals);
            all.busy += one.busy;
            one.answers
                .into_iter()
                .for_each(|(status, number)| *all.answers.entry(status).or_default() += number);
            all
        })
    }
}

struct Worker {
    client: Client,
    dice: Dice,
    name: String,
    entries: Rc<RefCell<Entries>>,
}

impl Worker {
    fn new(client: Client, dice: Dice) -> Self {
        Self { client, dice, name: format!("w{}", unique()), entries: Rc::default() }
    }

    async fn work(self, book: &Book, over: &Cell<bool>) {
        while !over.get() {
            let (at, deed, person) = self.choose();
            let asked = Instant::now();
            let outcome = person.ask(&self.client, &deed).await;
            if self.entries.borrow_mut().enter(at, &deed, outcome, asked.elapsed()) {
                book.entered.notify_waiters();
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Who does what next: sign-ups 20 %, descriptions 40 %, refreshes 25 %, sign-ins, new passwords and deletions 5 % each.
    /// It is entered as what may happen.
    fn choose(&self) -> (usize, Deed, Person) {
        let mut entries = self.entries.borrow_mut();
        let number = entries.people.len();
        let settled: Vec<usize> = (0..number).filter(|at| entries.people[*at].may_act()).collect();
        let dice = self.dice.below(100);
        let (at, deed) = if settled.is_empty() || (dice < 20 && settled.len() < PEOPLE) {
            entries.people.push(Person::new(format!("{}_{number}", self.name)));
            (number, Deed::SignUp)
        } else {
            let deed = match dice {
                0..60 => Deed::Describe(unique()),
                60..85 => Deed::Refresh,
                85..90 => Deed::SignIn,
                90..95 => Deed::ChangePassword(format!("{PASSWORD}-{}", unique())),
                _ => Deed::Delete,
            };
            (settled[self.dice.below(settled.len())], deed)
        };
        let person = &mut entries.people[at];
        person.maybe = Some(deed.clone());
        person.since = Some(Instant::now());
        (at, deed, person.clone())
    }
}

impl Person {
    fn new(username: String) -> Self {
        Self {
            username,
            password: PASSWORD.to_owned(),
            former: None,
            access: String::new(),
            refresh: String::new(),
            spent: None,
            state: None,
            maybe: None,
            since: None,
        }
    }

    fn may_act(&self) -> bool {
        self.maybe.is_none() && self.state.as_ref().is_some_and(|state| !state.is_deleted)
    }

    async fn ask(&self, client: &Client, deed: &Deed) -> reqwest::Result<Answer> {
        match deed {
            Deed::SignUp => client.sign_up(&self.username).await,
            Deed::SignIn => client.sign_in(&self.username, &self.password).await,
            Deed::Describe(text) => client.describe(&self.username, &self.access, text).await,
            Deed::ChangePassword(new) => client.change_password(&self.access, &self.password, new).await,
            Deed::Refresh => client.refresh(&self.refresh).await,
            Deed::Delete => client.delete(&self.username, &self.access).await,
        }
    }

    /// Enters an act that was answered as done.
    fn enter(&mut self, deed: &Deed, answer: &Answer) {
        self.state = Some(after(self.state.take(), deed));
        self.maybe = None;
        match deed {
            Deed::SignUp | Deed::SignIn | Deed::Refresh => {
                let before = std::mem::replace(&mut self.refresh, answer.text("refresh_token"));
                // What belongs to an earlier session is not spent.
                self.spent = matches!(deed, Deed::Refresh).then_some(before);
                self.access = answer.text("access_token");
            }
            Deed::ChangePassword(new) => {
                self.former = Some(std::mem::replace(&mut self.password, new.clone()));
            }
            Deed::Describe(_) | Deed::Delete => {}
        }
    }

    /// The states that the database may show.
    fn possible(&self) -> Vec<Option<State>> {
        let other = self.maybe.as_ref().map(|deed| Some(after(self.state.clone(), deed)));
        std::iter::once(self.state.clone()).chain(other).collect()
    }

    /// Whether the password signs in that was last answered, and the one before does not. A wrong one comes last: after a
    /// failure an account has to wait.
    async fn check_password(&self, client: &Client) {
        let signs_in = async |password: &str| {
            let answer = client.sign_in(&self.username, password).await.unwrap();
            assert!(matches!(answer.status, 200 | 401), "{self:?}: {answer:?}");
            answer.status == 200
        };
        match (&self.maybe, &self.former) {
            (Some(Deed::ChangePassword(new)), _) => {
                // If it is refused, it was not done; that nothing of it is there has been seen in the database.
                if signs_in(new).await {
                    assert!(!signs_in(&self.password).await, "{self:?}: both passwords sign in");
                }
            }
            (_, Some(former)) => {
                assert!(signs_in(&self.password).await, "{self:?}: the new password is lost");
                assert!(!signs_in(former).await, "{self:?}: the old password is back");
            }
            (_, None) => {}
        }
    }

    /// Whether the server still knows them as the database does, and every token works once.
    async fn check_tokens(&self, client: &Client) {
        if self.state.as_ref().is_none_or(|state| state.is_deleted) {
            if !self.access.is_empty() {
                assert_eq!(client.me(&self.access).await.unwrap().status, 401, "{self:?} is gone");
            }
            return;
        }
        if matches!(self.maybe, Some(Deed::Delete)) {
            return;
        }
        self.check_password(client).await;
        let me = client.me(&self.access).await.unwrap();
        assert_eq!(me.body["username"], Value::from(self.username.as_str()), "{self:?}: {me:?}");
        // Also where the answer to a refresh was lost: asked again in time, it gives the same. Asked later, it is a spent
        // token that comes back, if the refresh was done after all: the session has ended then.
        let refreshed = client.refresh(&self.refresh).await.unwrap();
        let in_time = self.since.is_none_or(|since| since.elapsed() < GRACE);
        if matches!(self.maybe, Some(Deed::Refresh)) && !in_time && refreshed.status == 401 {
            return;
        }
        assert_eq!(refreshed.status, 200, "{self:?}: {refreshed:?}");
        if let Some(spent) = &self.spent {
            assert_eq!(client.refresh(spent).await.unwrap().status, 401, "{self:?}: twice");
            let newest = refreshed.text("refresh_token");
            assert_eq!(client.refresh(&newest).await.unwrap().status, 401, "{self:?}: the session has ended");
        }
    }
}

fn after(state: Option<State>, deed: &Deed) -> State {
    let before = state.unwrap_or(State {
        description: None,
        is_deleted: false,
        lines_of_history: 0,
        events: 0,
        sessions: 1,
    });
    let changed =
        State { lines_of_history: before.lines_of_history + 1, events: before.events + 1, ..before.clone() };
    match deed {
        Deed::SignUp => changed,
        Deed::SignIn => State { sessions: MOST_SESSIONS.min(before.sessions + 1), ..before },
        // The session that asks for it is kept, no other.
        Deed::ChangePassword(_) => State { sessions: 1, ..changed },
        Deed::Describe(text) => State { description: Some(text.clone()), ..changed },
        Deed::Refresh => before,
        Deed::Delete => State { is_deleted: true, sessions: 0, ..changed },
    }
}

impl Entries {
    /// Enters what came of an act; whether it was done.
    fn enter(&mut self, at: usize, deed: &Deed, outcome: reqwest::Result<Answer>, took: Duration) -> bool {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return false,
            Err(error) => {
                self.cut.push(format!("{deed:?}: {error:?}"));
                return false;
            }
        };
        *self.answers.entry(answer.status).or_default() += 1;
        match answer.status {
            200..300 => self.people[at].enter(deed, &answer),
            503 => {
                self.refusals.push(took);
                self.busy += usize::from(answer.text("detail").starts_with("Too many people are signing in"));
            }
            _ => panic!("{deed:?} of {:?} was answered {answer:?}", self.people[at]),
        }
        answer.status != 503
    }

    /// Holds the ledger against the database: what was answered is there, what was not is there whole or not at all; and so
    /// are the events of all that.
    pub async fn check(&self, db: &DatabaseConnection) {
        let found = states(db).await;
        no_event_is_missing(db).await;
        for person in &self.people {
            let state = found.get(&person.username);
            let possible = person.possible();
            assert!(
                possible.iter().any(|one| one.as_ref() == state),
                "{person:#?}\nis in the database {state:#?}"
            );
        }
    }

    /// The same, later: some have signed in again since.
    pub async fn check_kept(&self, db: &DatabaseConnection) {
        let found = states(db).await;
        for person in &self.people {
            let state = found.get(&person.username);
            let but_for_sessions = |one: &State| {
                state.is_some_and(|state| *state == State { sessions: state.sessions, ..one.clone() })
            };
            let possible = person.possible();
            assert!(
                possible.iter().any(|one| one.as_ref().map_or(state.is_none(), but_for_sessions)),
                "{person:#?}\nis now in the database {state:#?}"
            );
        }
    }

    /// The same of a copy that was made at some moment after an earlier look into the ledger: it has all that was answered
    /// by then, nobody has half an act, and nobody more than they asked for.
    pub async fn check_since(&self, earlier: &Self, db: &DatabaseConnection) {
        let found = states(db).await;
        no_event_is_missing(db).await;
        let of_name = |person: &Person| (person.username.clone(), person.state.clone());
        let earlier: HashMap<String, Option<State>> = earlier.people.iter().map(of_name).collect();
        let lines = |state: Option<&State>| state.map_or(0, |state| state.lines_of_history);
        for person in &self.people {
            let (state, least) = (found.get(&person.username), earlier.get(&person.username));
            let least = least.and_then(Option::as_ref);
            let known: Vec<State> =
                least.cloned().into_iter().chain(person.possible().into_iter().flatten()).collect();
            let most = known.iter().map(|one| one.lines_of_history).max().unwrap_or_default();
            let told = || format!("{person:#?}\nwas {least:#?} before, and is in the copy {state:#?}");
            assert!((lines(least)..=most).contains(&lines(state)), "{}", told());
            // Each act that is seen has a line and an event. With as many lines only sessions may differ.
            assert!(state.is_none_or(|state| state.events == state.lines_of_history), "{}", told());
            let alike = known.iter().filter(|one| one.lines_of_history == lines(state));
            for one in alike {
                let but_for_sessions =
                    state.is_some_and(|state| *state == State { sessions: state.sessions, ..one.clone() });
                assert!(but_for_sessions, "{}", told());
            }
        }
    }

    /// The same of people and what they did, where events may have gone with a step of the schema.
    pub async fn check_people(&self, db: &DatabaseConnection) {
        let found = states(db).await;
        let of_person = |state: &State| State { events: 0, sessions: 0, ..state.clone() };
        for person in &self.people {
            let state = found.get(&person.username).map(of_person);
            let possible = person.possible();
            assert!(
                possible.iter().any(|one| one.as_ref().map(of_person) == state),
                "{person:#?}\nis in the database {state:#?}"
            );
        }
    }

    /// The same, where it is sure that what was not answered as done was not done.
    pub async fn check_undone(&self, db: &DatabaseConnection) {
        let found = states(db).await;
        for person in &self.people {
            let state = found.get(&person.username);
            assert_eq!(person.state.as_ref(), state, "{person:#?}");
        }
    }

    /// Holds the server against the ledger, by the last people who acted. Ends some of their sessions.
    pub async fn check_server(&self, client: &Client) {
        let living: Vec<&Person> = self.people.iter().filter(|person| person.may_act()).take(2).collect();
        for person in living {
            let signed_in = client.sign_in(&person.username, &person.password).await.unwrap();
            assert_eq!(signed_in.status, 200, "{person:?}");
            assert_eq!(client.sign_up(&person.username).await.unwrap().status, 409, "{person:?}");
        }
        let uncertain = self.people.iter().filter(|person| person.maybe.is_some()).take(2 * WORKERS);
        let settled = self.people.iter().filter(|person| person.maybe.is_none()).step_by(7).take(2 * WORKERS);
        for person in uncertain.chain(settled) {
            person.check_tokens(client).await;
        }
    }

    /// How many acts were answered as done.
    pub fn done(&self) -> usize {
        self.answers.iter().filter(|(status, _)| (200..300).contains(*status)).map(|(_, number)| number).sum()
    }
}

/// Everybody's events are 1, 2, 3, … to the last.
async fn no_event_is_missing(db: &DatabaseConnection) {
    let gaps = "SELECT users.username FROM users LEFT JOIN events ON events.user_id = users.id
                GROUP BY users.id, users.username, users.event_sequence
                HAVING count(events.id) <> users.event_sequence
                    OR COALESCE(MAX(events.sequence), 0) <> users.event_sequence";
    assert_eq!(column::<String>(db, gaps).await, [""; 0], "whose events are not 1, 2, 3, … to the last");
}

/// What the database holds, by user name.
async fn states(db: &DatabaseConnection) -> HashMap<String, State> {
    let sql = "SELECT username, description, CASE WHEN deleted_at IS NULL THEN 0 ELSE 1 END,
                   (SELECT count(*) FROM user_history WHERE user_id = users.id),
                   (SELECT count(*) FROM sessions WHERE user_id = users.id),
                   (SELECT count(*) FROM events WHERE user_id = users.id AND event_type LIKE 'user.%')
               FROM users";
    let state = |row: &sea_orm::QueryResult| State {
        description: row.try_get_by_index(1).unwrap(),
        is_deleted: row.try_get_by_index::<i32>(2).unwrap() == 1,
        lines_of_history: row.try_get_by_index(3).unwrap(),
        sessions: row.try_get_by_index(4).unwrap(),
        events: row.try_get_by_index(5).unwrap(),
    };
    rows(db, sql).await.iter().map(|row| (row.try_get_by_index(0).unwrap(), state(row))).collect()
}
