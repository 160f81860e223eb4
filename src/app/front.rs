//! What answers requests: the operations, the pages, the documentation, and the edge around them.

use std::sync::Arc;

use poem::http::Method;
use poem::middleware::AddData;
use poem::{Endpoint, EndpointExt, Route};
use poem_openapi::OpenApiService;

use super::{App, settings};
use crate::admin::{
    self, AuditApi, BansApi, EmailApi, EventsApi, PermissionsApi, StatsApi, StatsParts, UserSessionsApi,
};
use crate::archive::ArchiveApi;
use crate::auth::{self, AuthApi, Door, MakePage, OauthApi, OtpApi, RecoveryApi, SessionApi};
use crate::files::{self, FileApi};
use crate::flags::{self, Flagged, FlagsApi, OfrepApi};
use crate::pages::{AccountPages, ConsolePages, DoorPages, FrontPages, InboxPage, Inside, Pages, SetUpPage};
use crate::platform::shape::{self, Shaped};
use crate::platform::web::TrustedProxies;
use crate::profiles::{self, PictureApi, PicturesAtHand, UserApi, UserFilesApi};
use crate::server::documentation::{self, Documentation, DocumentationSettings, Guarded};
use crate::server::edge::{Edge, EdgeSettings, Measured, Methods, OauthPlaces};
use crate::server::{self, PONG, RootApi, document};
use crate::sessions::SessionCookies;
use crate::webhooks::{self, WebhooksApi};
use crate::workos::WorkosApi;

/// The operations below the API's prefix.
type Apis = (
    AuthApi,
    OtpApi,
    RecoveryApi,
    SessionApi,
    OauthApi,
    WorkosApi,
    UserApi,
    UserFilesApi,
    PictureApi,
    FileApi,
    EmailApi,
    PermissionsApi,
    (BansApi, UserSessionsApi, AuditApi, StatsApi),
    EventsApi,
    FlagsApi,
    (WebhooksApi, ArchiveApi),
);
/// The operations at the root.
type RootApis = (RootApi, OfrepApi);

/// What the edge learns of the operations from their document.
struct Told {
    methods: Methods,
    repeatable: Vec<String>,
    oauth_places: OauthPlaces,
}

/// A flag for each operation, and for each page that stands for one.
pub(super) fn flags_of_operations() -> Vec<flags::Name> {
    [flags::flags_of::<Apis>(), flags::flags_of::<RootApis>(), FrontPages::flags()].concat()
}

/// What the document says beyond types.
fn shapes() -> Vec<Shaped> {
    [
        files::shapes(),
        flags::shapes(),
        webhooks::shapes(),
        profiles::shapes(),
        auth::shapes(),
        admin::shapes(),
        server::shapes(),
    ]
    .concat()
}

impl App {
    /// Everything that answers requests, with the edge around it; `document` is [`App::document`].
    pub fn endpoint(&self, document: &serde_json::Value) -> anyhow::Result<Edge<impl Endpoint + use<>>> {
        let prefix = self.config.server.api_prefix.clone();
        let pages = Pages::new(self.random.clone(), settings::pages(&self.config))?;
        let door = self.door_pages(pages.clone());
        let (verify, nowhere) = (door.clone(), pages.clone());
        let api = self.api(
            Arc::new(move |request, token| verify.verify_page(request, token)),
            Arc::new(move |request, words| nowhere.of(request).nowhere(words)),
        );
        let root = self.root_api();
        let set_up = SetUpPage {
            auth: self.auth.clone(),
            pages: pages.clone(),
            min_length: self.config.passwords.min_length,
            then: "/interactive-docs".to_owned(),
        };
        let methods = Methods::of_document(document, "");
        let methods = DoorPages::paths()
            .fold(methods, |methods, path| methods.and(path, &[Method::GET, Method::POST]))
            .and("/setup", &[Method::GET, Method::POST]);
        let methods = AccountPages::paths()
            .chain(ConsolePages::paths())
            .fold(methods, |methods, path| methods.and(path, &[Method::GET]));
        let methods = FrontPages::paths()
            .fold(methods, |methods, (path, taken)| methods.and(path, taken))
            .and("/interactive-docs", &[Method::GET]);
        let repeatable = documentation::repeatable_parameters(document);
        let oauth_places = OauthPlaces::of_document(document, &auth::OAUTH_OPERATIONS);
        let told = Told { methods, repeatable, oauth_places };
        let mut routes = Route::new().nest(&prefix, api).at("/setup", set_up);
        if self.config.server.environment.is_local() {
            let host = self.config.server.base_url.host_str().unwrap_or_default();
            let inbox = InboxPage::new(self.mail.clone(), pages.clone(), host);
            routes = routes.at("/dev/inbox", inbox.clone()).at("/dev/inbox.json", inbox);
        }
        let account = self.account_pages(pages.clone());
        let front = self.front_pages(pages.clone());
        let console = ConsolePages { inside: self.inside(pages.clone()) };
        let routes = pages.assets().on(console.on(account.on(door.on(routes))));
        let routes = front.on(routes, root);
        let routes = self.guarded(document, pages.clone())?.on(routes, &prefix);
        let routes = routes
            .with(AddData::new(Arc::clone(&self.sessions)))
            .with(AddData::new(Arc::clone(&self.gate)))
            .with(AddData::new(Arc::new(self.files.clone())))
            .with(AddData::new(Arc::clone(&self.rate_limits)))
            .with(AddData::new(Arc::new(self.profiles.clone())));
        let measured = Arc::new(Measured::new(document));
        let counted = Arc::clone(&measured);
        self.metrics.tell(move || counted.measures());
        let tracer = self.export.as_ref().and_then(|export| export.tracer.clone());
        let edge = Edge::new(routes, self.edge_settings(told, pages), Arc::clone(&self.trace_ids));
        let edge = edge.with_measured(measured).with_tracer(tracer);
        let pictures = self.pictures_at_hand();
        let edge = edge.with_at_hand(PicturesAtHand::ENDS, move |request| pictures.answer(request));
        Ok(edge.with_constant("/ping", PONG).with_limit(self.rate_limits.requests()))
    }

    /// Who answers before the router where a picture is at hand.
    #[must_use]
    pub fn pictures_at_hand(&self) -> PicturesAtHand {
        PicturesAtHand::new(self.picture_api(), self.flags.clone(), &self.config.server.api_prefix)
    }

    /// The OpenAPI document, made anew.
    #[must_use]
    pub fn document(&self) -> serde_json::Value {
        let no_page: MakePage = Arc::new(|_, _| poem::Response::default());
        let api = self.api(Arc::clone(&no_page), no_page);
        let mut document = document(&api.spec(), &self.root_api().spec(), &self.config);
        documentation::complete(&mut document, self.config.limiter.enabled);
        let lost = shape::apply(&mut document, &shapes());
        debug_assert!(lost.is_empty(), "shapes of what is not in the document: {lost:?}");
        document
    }

    fn api(&self, verify_page: MakePage, nowhere_page: MakePage) -> OpenApiService<Flagged<Apis>, ()> {
        let door = self.door();
        let auth = AuthApi { auth: self.auth.clone(), door };
        let otp = OtpApi { auth: self.auth.clone(), door, profiles: self.profiles.clone() };
        let frontend_url = self.config.server.frontend_url.to_string();
        let recovery = RecoveryApi { auth: self.auth.clone(), door, frontend_url, verify_page };
        let session = SessionApi {
            auth: self.auth.clone(),
            gate: Arc::clone(&self.gate),
            cookies: self.session_cookies(),
        };
        let oauth = OauthApi { auth: self.auth.clone(), door, cookies: self.session_cookies(), nowhere_page };
        let workos = WorkosApi { workos: self.workos.clone(), clock: self.clock.clone() };
        let picture = self.picture_api();
        let (users, files) = (self.users.clone(), self.files.clone());
        let permissions = PermissionsApi { users, files, gate: Arc::clone(&self.gate) };
        let (mail, clock, random) = (self.mail.clone(), self.clock.clone(), self.random.clone());
        let email = EmailApi { mail, clock, random };
        let events = EventsApi { events: self.events.clone(), audit: self.audit.clone() };
        let bans = BansApi { users: self.users.clone(), gate: Arc::clone(&self.gate) };
        let user_sessions =
            UserSessionsApi { users: self.users.clone(), sessions: Arc::clone(&self.sessions) };
        let audit = AuditApi { audit: self.audit.clone(), cursor_key: self.audit.cursor_key() };
        let stats = StatsApi::new(StatsParts {
            clock: self.clock.clone(),
            users: self.users.clone(),
            sessions: Arc::clone(&self.sessions),
            mail: self.mail.clone(),
            files: self.files.clone(),
            broker: self.broker.clone(),
        });
        let staff = (bans, user_sessions, audit, stats);
        let flags = FlagsApi { flags: self.flags.clone(), clock: self.clock.clone() };
        let (users, user_files) = (UserApi(self.profiles.clone()), UserFilesApi(self.profiles.clone()));
        let file = FileApi { files: self.files.clone(), gate: Arc::clone(&self.gate) };
        let webhooks =
            WebhooksApi { webhooks: self.webhooks.clone(), api_url: settings::api_url(&self.config) };
        let archive = ArchiveApi { archive: self.archive.clone() };
        let apis = (
            auth,
            otp,
            recovery,
            session,
            oauth,
            workos,
            users,
            user_files,
            picture,
            file,
            email,
            permissions,
            staff,
            events,
            flags,
            (webhooks, archive),
        );
        OpenApiService::new(self.flagged(apis), &self.config.server.project_name, env!("CARGO_PKG_VERSION"))
    }

    fn picture_api(&self) -> PictureApi {
        PictureApi {
            profiles: self.profiles.clone(),
            pictures: self.pictures.clone(),
            gate: Arc::clone(&self.gate),
        }
    }

    /// Puts operations behind their flags.
    fn flagged<T>(&self, api: T) -> Flagged<T> {
        Flagged { api, flags: self.flags.clone() }
    }

    fn door(&self) -> Door {
        Door { secure: self.config.server.cookie_is_secure() }
    }

    fn door_pages(&self, pages: Pages) -> DoorPages {
        DoorPages {
            auth: self.auth.clone(),
            flags: self.flags.clone(),
            sessions: Arc::clone(&self.sessions),
            pages,
            door: self.door(),
            cookies: self.session_cookies(),
            min_length: self.config.passwords.min_length,
            home: settings::frontend(&self.config).map(ToString::to_string),
            places: self.oauth.places().clone(),
            back: None,
        }
    }

    fn front_pages(&self, pages: Pages) -> FrontPages {
        FrontPages {
            inside: self.inside(pages),
            flags: self.flags.clone(),
            cookies: self.session_cookies(),
            places: self.oauth.places().clone(),
            frontend: settings::frontend(&self.config).cloned(),
            texts: self.config.server.data_dir.join("templates").join("page"),
        }
    }

    fn inside(&self, pages: Pages) -> Inside {
        Inside {
            sessions: Arc::clone(&self.sessions),
            gate: Arc::clone(&self.gate),
            users: self.users.clone(),
            pages,
        }
    }

    fn account_pages(&self, pages: Pages) -> AccountPages {
        AccountPages {
            inside: self.inside(pages),
            auth: self.auth.clone(),
            min_length: self.config.passwords.min_length,
            codes_by_mail: self.mail.is_on() && self.config.otp.email_allowed,
            grace: self.config.users.deleted_retention,
        }
    }

    fn root_api(&self) -> OpenApiService<Flagged<RootApis>, ()> {
        let root = RootApi {
            db: self.db.clone(),
            broker: self.broker.clone(),
            sessions: Arc::clone(&self.sessions),
            gate: Arc::clone(&self.gate),
            limits: Arc::clone(&self.rate_limits),
            flags: self.flags.clone(),
            metrics_allow: self.config.metrics_allow.clone(),
            metrics_token: self.config.metrics_token.clone(),
            metrics: self.metrics.clone(),
            proxies: TrustedProxies::new(self.config.server.trusted_proxies.clone()),
            connections: self.oauth.connections().clone(),
            workos: self.workos.clone(),
            stopping: self.stopping.clone(),
        };
        let ofrep = OfrepApi {
            flags: self.flags.clone(),
            sessions: Arc::clone(&self.sessions),
            gate: Arc::clone(&self.gate),
        };
        OpenApiService::new(
            self.flagged((root, ofrep)),
            &self.config.server.project_name,
            env!("CARGO_PKG_VERSION"),
        )
    }

    fn guarded(&self, document: &serde_json::Value, pages: Pages) -> anyhow::Result<Guarded> {
        let settings = DocumentationSettings {
            project_name: self.config.server.project_name.clone(),
            base_path: self.config.server.base_url.path().trim_end_matches('/').to_owned(),
            api_prefix: self.config.server.api_prefix.clone(),
        };
        let documentation = Arc::new(Documentation::new(document, settings, self.random.clone())?);
        Ok(Guarded {
            documentation,
            gate: Arc::clone(&self.gate),
            pages,
            public: self.config.docs.public,
            protected_interactive: self.config.docs.protected_interactive,
        })
    }

    fn session_cookies(&self) -> SessionCookies {
        SessionCookies {
            name: self.config.server.cookie_name(),
            secure: self.config.server.cookie_is_secure(),
            lasts: self.config.tokens.session_absolute,
        }
    }

    fn edge_settings(&self, told: Told, pages: Pages) -> EdgeSettings {
        let server = &self.config.server;
        EdgeSettings {
            base_url: settings::base_url(&self.config),
            api_prefix: server.api_prefix.clone(),
            pages,
            cors_origins: server.cors_origins.clone(),
            trusted_proxies: server.trusted_proxies.clone(),
            max_body_bytes: server.max_body_bytes,
            large_bodies: settings::large_bodies(&self.config),
            request_timeout: server.request_timeout,
            hsts_include_subdomains: server.hsts_include_subdomains,
            repeatable: told.repeatable,
            methods: told.methods,
            oauth_places: told.oauth_places,
        }
    }
}
