//! The console: pages for staff. Each is a frame that its script fills from the API; what the reader may do is asked of the
//! policies here, so that there is no button for what would be refused.

use minijinja::context;
use poem::error::MethodNotAllowedError;
use poem::http::{Method, StatusCode};
use poem::{Endpoint, Request, Response, Route};
use serde_json::json;
use uuid::Uuid;

use super::render::data_block;
use super::{Inside, SignedIn, see_other};
use crate::events::TYPES;
use crate::permissions::{Account, Action, Context, Field, File, Gate, Resource, Subject};
use crate::platform::problem::Breakage;
use crate::sessions::Role;
use crate::users::store::Named;

/// A page of the console.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Its name: of its word, template and script.
    name: &'static str,
    path: &'static str,
    /// What opens it: one of these.
    opened_by: &'static [Action],
}

/// The list of users, of which the page of one is a part.
const USERS: Place = Place { name: "users", path: "/console/users", opened_by: &[Action::UserList] };
/// The pages, in the order of their links. The first that somebody may see is where `/console` leads them.
const PLACES: [Place; 10] = [
    Place { name: "overview", path: "/console", opened_by: &[Action::StatsRead] },
    USERS,
    Place { name: "files", path: "/console/files", opened_by: &[Action::FileRead] },
    Place {
        name: "mail",
        path: "/console/mail",
        opened_by: &[Action::EmailSingle, Action::EmailMultiple, Action::EmailAll],
    },
    Place { name: "flags", path: "/console/flags", opened_by: &[Action::FlagsRead] },
    Place { name: "events", path: "/console/events", opened_by: &[Action::EventsRead] },
    Place { name: "webhooks", path: "/console/webhooks", opened_by: &[Action::WebhooksRead] },
    Place { name: "audit", path: "/console/audit", opened_by: &[Action::AuditRead] },
    Place { name: "permissions", path: "/console/permissions", opened_by: &[Action::PermissionsCheck] },
    Place { name: "health", path: "/console/health", opened_by: &[Action::SystemRead] },
];
/// The page of one user.
const USER: &str = "/console/users/:user";

/// What staff does that is written down, to be chosen from.
const DEEDS: [&str; 30] = [
    "banned",
    "unbanned",
    "created",
    "updated",
    "username_changed",
    "email_changed",
    "roles_changed",
    "roles_imported",
    "roles_recovered",
    "deleted",
    "restored",
    "purged",
    "session_ended",
    "sessions_ended",
    "flags_changed",
    "letter_sent",
    "letter_sent_to_all",
    "events_replayed",
    "event_skipped",
    "webhook_created",
    "webhook_changed",
    "webhook_deleted",
    "webhook_secret_rotated",
    "webhook_replayed",
    "keys_rotated",
    "policies_changed",
    "database_exported",
    "database_imported",
    "database_recovered",
    "database_backed_up",
];

/// The pages of the console.
#[derive(Clone)]
pub struct ConsolePages {
    /// The way in.
    pub inside: Inside,
}

impl ConsolePages {
    /// Puts the pages on the route.
    #[must_use]
    pub fn on(&self, route: Route) -> Route {
        let page = |place| ConsolePage { console: self.clone(), place };
        let route = PLACES.iter().fold(route, |route, place| route.at(place.path, page(Some(*place))));
        route.at(USER, page(None))
    }

    /// Every path.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        PLACES.iter().map(|place| place.path).chain([USER])
    }

    fn show(&self, place: Place, reader: &SignedIn) -> Response {
        let rights = self.rights(reader);
        if !rights.open(place) {
            return match PLACES.into_iter().find(|other| rights.open(*other)) {
                Some(first) if place.path == "/console" => see_other(first.path),
                _ => reader.pages.message(StatusCode::FORBIDDEN, "console.title", "console.not_for_you"),
            };
        }
        let may = rights.in_general();
        let facts = facts(reader, &may, None);
        let shown = context! {
            title => reader.pages.word(&format!("console.place.{}", place.name)),
            script => format!("console-{}.js", place.name),
            private => may.contains(&Action::UserReadPrivate.name()),
            change => may.contains(&Action::FileUpdate.name()),
            grantable => rights.grantable(Action::UserCreate, &Resource::System),
            types => TYPES.to_vec(), deeds => DEEDS.to_vec(),
            actions => Action::ALL.iter().copied().map(Action::name).collect::<Vec<_>>(),
            all_fields => Field::ALL.map(Field::name).to_vec(),
            may, facts, ..rights.frame(place.path)
        };
        reader.pages.page(StatusCode::OK, &format!("console/{}.html", place.name), shown)
    }

    async fn show_user(&self, reader: &SignedIn, request: &Request) -> poem::Result<Response> {
        let rights = self.rights(reader);
        let nothing =
            || Ok(reader.pages.message(StatusCode::NOT_FOUND, "console.place.users", "console.user.gone"));
        let named = request.raw_path_param("user").and_then(Named::in_path);
        let (true, Some(named)) = (rights.open(USERS), named) else { return nothing() };
        let seen = self.inside.users.seen_by(reader.user.id, &named).await;
        let seen = seen.map_err(|error| Breakage::from(error).problem())?;
        let Some(seen) = seen else { return nothing() };
        if matches!(named, Named::Username(_)) {
            return Ok(see_other(&format!("/console/users/{}", seen.user.id)));
        }
        let resource = Resource::Account(seen.account());
        if !rights.may(Action::UserRead, &resource, Context::default()) {
            return nothing();
        }
        let may = rights.of(&resource);
        let facts = facts(reader, &may, Some(seen.user.id));
        let shown = context! {
            title => seen.user.display_name,
            script => "console-user.js",
            fields => rights.fields(&resource),
            grantable => rights.grantable(Action::UserSetRoles, &resource),
            may, facts, ..rights.frame(USERS.path)
        };
        Ok(reader.pages.page(StatusCode::OK, "console/user.html", shown))
    }

    fn rights<'a>(&'a self, reader: &'a SignedIn) -> Rights<'a> {
        Rights { gate: &self.inside.gate, reader }
    }
}

/// What the script of the page is told.
fn facts(reader: &SignedIn, may: &[&str], uuid: Option<Uuid>) -> minijinja::Value {
    let pages = &reader.pages;
    data_block(&json!({
        "may": may, "uuid": uuid, "api": pages.api_prefix(), "project": pages.project_name(),
    }))
}

/// What the reader may do, as the policies say.
struct Rights<'a> {
    gate: &'a Gate,
    reader: &'a SignedIn,
}

impl Rights<'_> {
    fn may(&self, action: Action, resource: &Resource<'_>, context: Context) -> bool {
        let caller = &self.reader.caller;
        // The directory may be open to members; the console is for those who may list people without that.
        let closed = Context { directory_open: false, ..context };
        !caller.needs_second_factor()
            && self.gate.permissions.decide(&Subject::from(&**caller), action, resource, &closed).is_allow()
    }

    /// What may be done to this, and to Gatehouse itself.
    fn of(&self, resource: &Resource<'_>) -> Vec<&'static str> {
        let may = |action: Action, on: &Resource<'_>| self.may(action, on, Context::default());
        let either = |action: &Action| may(*action, resource) || may(*action, &Resource::System);
        Action::ALL.iter().copied().filter(either).map(Action::name).collect()
    }

    /// What may be done to an ordinary account or its files: on lists nothing is known yet of the one that is chosen.
    fn in_general(&self) -> Vec<&'static str> {
        let files =
            Action::ALL.iter().filter(|action| self.may(**action, &somebodys_file(), Context::default()));
        let mut may = self.of(&Resource::Account(somebody()));
        may.extend(files.map(|action| action.name()));
        may
    }

    fn open(&self, place: Place) -> bool {
        let opens = |action: &Action| {
            let resource = if *action == Action::FileRead { somebodys_file() } else { Resource::System };
            self.may(*action, &resource, Context::default())
        };
        place.opened_by.iter().any(opens)
    }

    /// The fields of an account that may be written.
    fn fields(&self, resource: &Resource<'_>) -> Vec<&'static str> {
        let is_writable = |field: &Field| {
            let fields = [*field].into_iter().collect();
            !matches!(field, Field::Password | Field::Uuid)
                && self.may(Action::UserUpdate, resource, Context { fields, ..Context::default() })
        };
        Field::ALL.into_iter().filter(is_writable).map(Field::name).collect()
    }

    /// The roles that may be given.
    fn grantable(&self, action: Action, resource: &Resource<'_>) -> Vec<&'static str> {
        let may = |role: &Role| {
            let roles = [*role].into_iter().collect();
            self.may(action, resource, Context { roles, ..Context::default() })
        };
        Role::ALL.into_iter().filter(may).map(Role::name).collect()
    }

    /// The links to the other pages, of which `here` is open.
    fn frame(&self, here: &str) -> minijinja::Value {
        let pages = &self.reader.pages;
        let link = |place: Place| {
            let words = pages.word(&format!("console.place.{}", place.name)).to_owned();
            context! { href => place.path, words, here => place.path == here }
        };
        let places: Vec<_> = PLACES.into_iter().filter(|place| self.open(*place)).map(link).collect();
        context! { places, roles => Role::ALL.map(Role::name).to_vec() }
    }
}

/// Whether there is a page of the console for whoever is signed in.
#[must_use]
pub(super) fn is_open_to(gate: &Gate, reader: &SignedIn) -> bool {
    let rights = Rights { gate, reader };
    PLACES.into_iter().any(|place| rights.open(place))
}

/// An ordinary account that nobody has.
fn somebody() -> Account {
    Account::active(Uuid::nil(), [Role::User].into_iter().collect())
}

fn somebodys_file() -> Resource<'static> {
    Resource::File(File { id: 0, owner: somebody(), linked: &[] })
}

/// One page on its route; without a place, that of a user.
struct ConsolePage {
    console: ConsolePages,
    place: Option<Place>,
}

impl Endpoint for ConsolePage {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        if request.method() != Method::GET {
            return Err(MethodNotAllowedError.into());
        }
        let reader = match self.console.inside.enter(&request).await? {
            Ok(reader) => reader,
            Err(elsewhere) => return Ok(elsewhere),
        };
        if reader.caller.needs_second_factor() {
            return Ok(see_other("/account/security"));
        }
        match self.place {
            Some(place) => Ok(self.console.show(place, &reader)),
            None => self.console.show_user(&reader, &request).await,
        }
    }
}
