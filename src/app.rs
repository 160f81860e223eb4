//! Builds every feature once, in order, as plain values; starts and stops the background work.

use std::sync::Arc;
use std::time::Duration;

use poem::http::Method;
use poem::middleware::AddData;
use poem::{Endpoint, EndpointExt, Route};
use poem_openapi::OpenApiService;
use rustix::fs::{Access, access};
use sea_orm::DbErr;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::admin::{AdminApi, AuditApi, BansApi, EmailApi, EventsApi, StatsApi, StatsParts, UserSessionsApi};
use crate::archive::{self, Archive, ArchiveApi, Plan, Schedule};
use crate::audit::Audit;
use crate::auth::{self, Auth, AuthApi, Door, OauthApi, OtpApi, RecoveryApi, SessionApi};
use crate::events::{self, Broker, Events, broker};
use crate::files::{self, FileApi, Files};
use crate::flags::{self, Flagged, Flags, FlagsApi, OfrepApi};
use crate::mail::{self, Mail};
use crate::oauth::{self, Connections, Oauth, Place, Places};
use crate::otp::{self, Otp};
use crate::pages::{
    self, AccountPages, ConsolePages, DoorPages, FrontPages, InboxPage, Inside, Pages, SetUpPage,
};
use crate::permissions::{Gate, Permissions, PolicyMistake};
use crate::pictures::Pictures;
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::config::{
    Config, DatabaseAddress, Directory, MasterSecret, RedirectRule, TokenAlgorithm,
};
use crate::platform::db::{Database, Direction, Schema, SchemaFault, postgres, sqlite};
use crate::platform::domains::Domains;
use crate::platform::hashing::{HashSettings, Hasher};
use crate::platform::outgoing::Reach;
use crate::platform::random::Random;
use crate::platform::secrets::Secrets;
use crate::platform::tasks::Tasks;
use crate::platform::telemetry::metrics::{Family, Metrics, Sample, number};
use crate::platform::telemetry::otlp::{self, Export, Exporter};
use crate::platform::web::{TraceIds, TrustedProxies};
use crate::profiles::{self, PictureApi, Profiles, SignUpFields, UserApi, UserFilesApi};
use crate::proofs::Proofs;
use crate::rate_limit::{self, Limits as RateLimits};
use crate::server::documentation::{self, Documentation, DocumentationSettings, Guarded};
use crate::server::edge::{Edge, EdgeSettings, LargeBodies, Measured, Methods};
use crate::server::{Limits, PONG, RootApi, document};
use crate::sessions::{self, Algorithm, OpaqueToken, Role, SessionCookies, Sessions};
use crate::users::{self, PasswordPolicy, Passwords, Users};
use crate::webhooks::{self, Webhooks, WebhooksApi};
use crate::workos::{self, Workos, WorkosApi};

/// How often what is past its time is swept away.
const SWEEP: Duration = Duration::from_mins(10);
/// Largest letter that staff may send, in bytes.
const LARGEST_LETTER: usize = 1024 * 1024;
/// What the body of an upload may hold besides the file, in bytes.
const AROUND_A_FILE: usize = 64 * 1024;
/// How long an upload may take.
const UPLOAD: Duration = Duration::from_mins(2);
/// How long what only the database knows is good enough as a measurement.
const RARELY: Duration = Duration::from_secs(30);
/// How often keys are read again, because another instance or the command line may have rotated them.
const KEYS: Duration = Duration::from_secs(30);

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
    AdminApi,
    (BansApi, UserSessionsApi, AuditApi, StatsApi),
    EventsApi,
    FlagsApi,
    (WebhooksApi, ArchiveApi),
);
/// The operations at the root.
type RootApis = (RootApi, OfrepApi);
/// Makes a page from what it is about.
type MakePage = Arc<dyn Fn(&poem::Request, &str) -> poem::Response + Send + Sync>;

/// Why the program can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The database can't be reached, opened or migrated.
    #[error("the database {address} can't be used: {reason}{}", remedy.as_ref().map(|sql| format!("\n  A superuser can mend this: {sql}")).unwrap_or_default())]
    Database {
        /// Where it is; without a password.
        address: String,
        /// What the database said.
        reason: String,
        /// The SQL that would help.
        remedy: Option<String>,
    },
    /// The schema is not as it must be.
    #[error(transparent)]
    Schema(#[from] SchemaFault),
    /// A policy file is wrong.
    #[error("the policies in DATA_DIR/policies can't be used: {0}")]
    Policies(#[from] PolicyMistake),
    /// A folder can't be used.
    #[error("{path} can't be written: {reason}. Make it the server's own: chown -R {uid} {path}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system said.
        reason: std::io::Error,
        /// The user that the server runs as.
        uid: u32,
    },
    /// A file that a setting names can't be used.
    #[error("{0:#}")]
    Setting(anyhow::Error),
    /// Something else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl StartFault {
    /// Whether an operator mends it in the configuration (exit code 78).
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Schema(SchemaFault::TooOld { .. } | SchemaFault::Pending(_))
                | Self::Policies(_)
                | Self::Setting(_)
                | Self::Folder { .. }
        )
    }
}

/// Everything that the program is made of.
#[derive(Clone)]
pub struct App {
    /// The settings.
    pub config: Arc<Config>,
    /// The database.
    pub db: Database,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// What other systems are told.
    pub events: Events,
    /// The message broker that tells them, if there is one.
    pub broker: Option<Broker>,
    /// What staff did.
    pub audit: Audit,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// Who may do what.
    pub gate: Arc<Gate>,
    /// How often.
    pub rate_limits: Arc<RateLimits>,
    /// What is switched on.
    pub flags: Flags,
    /// Who has an account.
    pub users: Users,
    /// Their files.
    pub files: Files,
    /// Profile pictures.
    pub pictures: Pictures,
    /// The second factor.
    pub otp: Otp,
    /// Accounts at other providers.
    pub oauth: Oauth,
    /// The directory at WorkOS.
    pub workos: Workos,
    /// What is shown of them.
    pub profiles: Profiles,
    /// Letters.
    pub mail: Mail,
    /// Events for other systems over HTTP.
    pub webhooks: Webhooks,
    /// Mailed links.
    pub proofs: Proofs,
    /// The door.
    pub auth: Auth,
    /// Moves of data.
    pub archive: Archive,
    /// Backups by themselves, if there are to be any.
    pub backups: Option<Schedule>,
    /// Which passwords are good enough.
    pub passwords: Passwords,
    /// Names requests.
    pub trace_ids: Arc<TraceIds>,
    /// What is measured.
    pub metrics: Metrics,
    /// What goes to a collector, if anything does.
    pub export: Option<Export>,
    /// Background work.
    pub tasks: Tasks,
    /// A stop was asked for.
    pub stopping: CancellationToken,
}

impl App {
    /// Connects, migrates and builds. Serves nothing yet.
    pub async fn open(config: Config, clock: Clock, random: Random) -> Result<Self, StartFault> {
        let db = connect(&config).await?;
        prepare_schema(&config, &db).await?;
        Box::pin(Self::build(config, db, clock, random)).await
    }

    /// Builds the features on a database whose schema is as it must be.
    #[expect(clippy::too_many_lines, reason = "one feature after the other, in their order")]
    pub async fn build(
        config: Config,
        db: Database,
        clock: Clock,
        random: Random,
    ) -> Result<Self, StartFault> {
        let secrets = Arc::new(secrets(&config));
        let events = Events::new(db.clone(), clock.clone(), random.clone(), event_settings(&config));
        let broker = broker_settings(&config).map(|settings| {
            let (db, clock, random) = (db.clone(), clock.clone(), random.clone());
            Broker::new(broker::Parts { db, clock, random, placed: events.placed() }, settings)
        });
        let audit = Audit::new(db.clone(), clock.clone(), Arc::clone(&secrets));
        let sessions = Sessions::open(
            db.clone(),
            clock.clone(),
            random.clone(),
            Arc::clone(&secrets),
            events.clone(),
            session_settings(&config),
        );
        let sessions = Arc::new(sessions.await?);
        let policies = config.server.data_dir.join("policies");
        let permissions = Arc::new(Permissions::open(Some(&policies))?);
        let directory_open = matches!(config.users.directory, Directory::Members);
        let gate = Arc::new(Gate { permissions, directory_open });
        let rate_limits = RateLimits::new(limit_settings(&config), clock.clone(), &secrets);
        let rate_limits = Arc::new(rate_limits.map_err(anyhow::Error::from)?);
        let tasks = Tasks::default();
        let flags = open_flags(&config, &db, &clock, &random, &tasks, audit.clone()).await;
        let flags = flags.map_err(anyhow::Error::from)?;
        let users = Users::new(
            db.clone(),
            clock.clone(),
            random.clone(),
            Arc::clone(&sessions),
            events.clone(),
            audit.clone(),
            user_settings(&config),
        );
        let api_url = api_url(&config);
        let parts = files::Parts {
            db: db.clone(),
            clock: clock.clone(),
            random: random.clone(),
            secrets: &secrets,
            users: users.clone(),
        };
        let files = Files::new(parts, file_storage(&config)?, file_settings(&config, &api_url));
        let pictures = Pictures::open(&db, users.clone(), files.clone())?;
        let parts = mail::Parts {
            db: db.clone(),
            clock: clock.clone(),
            random: random.clone(),
            secrets: Arc::clone(&secrets),
            audit: audit.clone(),
        };
        let mail = Mail::open(parts, mail_settings(&config)).map_err(StartFault::Setting)?;
        let parts = webhooks::Parts {
            db: db.clone(),
            clock: clock.clone(),
            random: random.clone(),
            secrets: Arc::clone(&secrets),
            events: events.clone(),
            mail: mail.clone(),
            audit: audit.clone(),
        };
        let webhooks = Webhooks::new(parts, webhook_reach(&config));
        let otp = Otp::new(
            db.clone(),
            clock.clone(),
            random.clone(),
            Arc::clone(&secrets),
            users.clone(),
            otp_settings(&config),
        );
        let passwords = passwords(&config, &random)?;
        let proofs = Proofs::new(db.clone(), clock.clone(), random.clone());
        let domains = if checks_domains(&config, &mail) { Domains::of_system() } else { Domains::unasked() };
        let foundations = workos::Foundations {
            db: db.clone(),
            clock: clock.clone(),
            random: random.clone(),
            users: users.clone(),
            sessions: Arc::clone(&sessions),
        };
        let workos = Workos::new(foundations, workos_settings(&config))?;
        let parts = profiles::Parts {
            db: &db,
            secrets: &secrets,
            clock: clock.clone(),
            users: users.clone(),
            files: files.clone(),
            passwords: passwords.clone(),
            mail: mail.clone(),
            proofs: proofs.clone(),
            domains: domains.clone(),
            sessions: Arc::clone(&sessions),
            workos: workos.clone(),
            tasks: tasks.clone(),
        };
        let profiles = Profiles::new(parts, &api_url);
        let foundations = oauth::Foundations {
            db: db.clone(),
            clock: clock.clone(),
            random: random.clone(),
            secrets: Arc::clone(&secrets),
            users: users.clone(),
            pictures: pictures.clone(),
            tasks: tasks.clone(),
            connections: connections(&config, &clock, &random, &secrets)?,
        };
        let oauth = Oauth::new(foundations, oauth_settings(&config));
        let parts = auth::Parts {
            db: db.clone(),
            clock: clock.clone(),
            random: random.clone(),
            secrets,
            sessions: Arc::clone(&sessions),
            users: users.clone(),
            passwords: passwords.clone(),
            mail: mail.clone(),
            otp: otp.clone(),
            oauth: oauth.clone(),
            proofs: proofs.clone(),
            domains,
            tasks: tasks.clone(),
            flags: flags.clone(),
        };
        let auth = Auth::new(parts, auth_settings(&config, &mail));
        let archive = Archive::new(archive::Parts {
            db: db.clone(),
            audit: audit.clone(),
            sessions: Arc::clone(&sessions),
            users: users.clone(),
            files: files.clone(),
            pictures: pictures.clone(),
            mail: mail.clone(),
            otp: otp.clone(),
            oauth: oauth.clone(),
            clock: clock.clone(),
            random: random.clone(),
            data_dir: config.server.data_dir.clone(),
            most_bytes: config.files.max_import_bytes,
        });
        let backups = backup_plan(&config).map(|plan| Schedule::new(archive.clone(), plan));
        let trace_ids = Arc::new(TraceIds::new(clock.clone(), &random));
        let metrics = Metrics::new(clock.clone());
        let export = otlp::start(config.otlp.clone(), &metrics, &clock, &random)?;
        let app = Self {
            config: Arc::new(config),
            db,
            clock,
            random,
            events,
            broker,
            audit,
            sessions,
            gate,
            rate_limits,
            flags,
            users,
            files,
            pictures,
            otp,
            oauth,
            workos,
            profiles,
            mail,
            webhooks,
            proofs,
            auth,
            archive,
            backups,
            passwords,
            trace_ids,
            metrics,
            export,
            tasks,
            stopping: CancellationToken::new(),
        };
        app.measure();
        Ok(app)
    }

    /// Says what each feature measures. A new one is a line here.
    fn measure(&self) {
        let (db, passwords, limits) =
            (self.db.clone(), self.passwords.clone(), Arc::clone(&self.rate_limits));
        self.metrics.tell(move || db.measures());
        self.metrics.tell(move || passwords.measures());
        self.metrics.tell(move || limits.measures());
        let caches = (Arc::clone(&self.sessions), self.pictures.clone(), self.profiles.clone());
        self.metrics.tell(move || {
            let (sessions, pictures, profiles) = &caches;
            let looks = sessions.looks().into_iter().chain(pictures.looks()).chain([profiles.looks()]);
            vec![looks_of_caches(looks)]
        });
        let sessions = Arc::clone(&self.sessions);
        self.metrics.ask(RARELY, move || {
            let sessions = Arc::clone(&sessions);
            async move {
                let open = Sample::plain(number(sessions.count_open().await.ok()?));
                Some(vec![Family::gauge(
                    "gatehouse_sessions_open",
                    "Sessions that have not run out.",
                    vec![open],
                )])
            }
        });
        let mail = self.mail.clone();
        self.metrics.ask(RARELY, move || {
            let mail = mail.clone();
            async move { mail.measures().await }
        });
        if let Some(broker) = self.broker.clone() {
            self.metrics.ask(RARELY, move || {
                let broker = broker.clone();
                async move { broker.measures().await }
            });
        }
        if let Some(backups) = self.backups.clone() {
            self.metrics.ask(RARELY, move || {
                let backups = backups.clone();
                async move { backups.measures().await }
            });
        }
        let workos = self.workos.clone();
        self.metrics.ask(RARELY, move || {
            let workos = workos.clone();
            async move { workos.measures().await }
        });
        if let Some(export) = self.export.clone() {
            let (metrics, clock, every) =
                (self.metrics.clone(), self.clock.clone(), self.config.otlp.interval);
            self.tasks.keep("metrics", move || {
                send_for_ever(Arc::clone(&export.exporter), metrics.clone(), clock.clone(), every)
            });
        }
    }

    /// Makes the admin of the settings on a server without one, or a set-up link for the operator.
    pub async fn first_start(&self) -> anyhow::Result<Option<OpaqueToken>> {
        let Some(admin) = &self.config.first_admin else {
            return Ok(self.auth.set_up_link().await?.map(|link| link.0));
        };
        let fields = SignUpFields {
            username: &admin.username,
            email: admin.email.as_deref(),
            display_name: None,
            first_name: None,
            middle_name: None,
            last_name: None,
        };
        let password = admin.password.expose_secret();
        let read = fields.read(password, password, self.users.settings());
        let (new, password) = read.map_err(|errors| wrong_admin(&errors))?;
        match self.auth.make_first_admin(new, &password).await {
            Ok(true) => tracing::warn!(username = admin.username, "made the first admin of ADMIN_*"),
            Ok(false) => {}
            Err(failure) => anyhow::bail!("ADMIN_*: {}", failure.problem()),
        }
        Ok(None)
    }

    /// Starts what runs beside the requests.
    pub fn start_background(&self) {
        let events = self.events.clone();
        self.tasks.keep("event relay", move || events.clone().relay());
        if let Some(broker) = &self.broker {
            broker.start(&self.tasks);
        }
        let app = self.clone();
        self.tasks.keep("sweep", move || app.clone().sweep_for_ever());
        let app = self.clone();
        self.tasks.keep("keys", move || app.clone().reload_keys_for_ever());
        let permissions = Arc::clone(&self.gate.permissions);
        self.tasks.keep("policies", move || Arc::clone(&permissions).watch());
        let limits = Arc::clone(&self.rate_limits);
        self.tasks.keep("redis", move || {
            let limits = Arc::clone(&limits);
            async move { limits.watch().await }
        });
        let flags = self.flags.clone();
        self.tasks.keep("flags", move || flags.clone().watch());
        let (mail, tasks) = (self.mail.clone(), self.tasks.clone());
        self.tasks.keep("mail", move || mail.clone().work(tasks.clone()));
        let mail = self.mail.clone();
        self.tasks.keep("mail batches", move || mail.clone().work_on_batches());
        let (webhooks, tasks) = (self.webhooks.clone(), self.tasks.clone());
        self.tasks.keep("webhooks", move || webhooks.clone().work(tasks.clone()));
        if let Some(backups) = self.backups.clone() {
            self.tasks.keep("backups", move || backups.clone().keep());
        }
        if self.config.workos.sync_in_process {
            let workos = self.workos.clone();
            self.tasks.keep("workos", move || workos.clone().follow());
        }
    }

    async fn sweep_for_ever(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "sweeping did not finish; it is tried again");
            }
        }
    }

    /// Forgets what is past its time.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        self.rate_limits.sweep();
        self.audit.tell_head().await?;
        self.sessions.sweep().await?;
        self.otp.sweep().await?;
        self.oauth.sweep().await?;
        self.workos.sweep().await?;
        self.auth.sweep().await?;
        self.proofs.sweep().await?;
        self.mail.sweep().await?;
        self.webhooks.sweep().await?;
        self.users.sweep().await?;
        self.events.sweep().await?;
        self.files.sweep().await
    }

    async fn reload_keys_for_ever(self) {
        loop {
            tokio::time::sleep(KEYS).await;
            if let Err(error) = self.sessions.reload_keys().await {
                tracing::warn!(%error, "the signing keys could not be read again; the known ones stay");
            }
        }
    }

    /// Everything that answers requests, with the edge around it.
    pub fn endpoint(&self) -> anyhow::Result<impl Endpoint + 'static> {
        let prefix = self.config.server.api_prefix.clone();
        let document = self.document();
        let pages = Pages::new(self.random.clone(), page_settings(&self.config))?;
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
        let methods = Methods::of_document(&document, "");
        let methods = DoorPages::paths()
            .fold(methods, |methods, path| methods.and(path, &[Method::GET, Method::POST]))
            .and("/setup", &[Method::GET, Method::POST]);
        let methods = AccountPages::paths()
            .chain(ConsolePages::paths())
            .fold(methods, |methods, path| methods.and(path, &[Method::GET]));
        let methods = FrontPages::paths()
            .fold(methods, |methods, (path, taken)| methods.and(path, taken))
            .and("/interactive-docs", &[Method::GET]);
        let repeatable = documentation::repeatable_parameters(&document);
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
        let routes = self.guarded(&document, pages.clone())?.on(routes, &prefix);
        let routes = routes
            .with(AddData::new(Arc::clone(&self.sessions)))
            .with(AddData::new(Arc::clone(&self.gate)))
            .with(AddData::new(Arc::new(self.files.clone())))
            .with(AddData::new(Arc::clone(&self.rate_limits)))
            .with(AddData::new(Arc::new(self.profiles.clone())));
        let measured = Arc::new(Measured::new(&document));
        let counted = Arc::clone(&measured);
        self.metrics.tell(move || counted.measures());
        let tracer = self.export.as_ref().and_then(|export| export.tracer.clone());
        let edge =
            Edge::new(routes, self.edge_settings(methods, repeatable, pages), Arc::clone(&self.trace_ids));
        let edge = edge.with_measured(measured).with_tracer(tracer);
        Ok(edge.with_constant("/ping", PONG).with_limit(self.rate_limits.requests()))
    }

    /// The OpenAPI document.
    #[must_use]
    pub fn document(&self) -> serde_json::Value {
        let no_page: MakePage = Arc::new(|_, _| poem::Response::default());
        let api = self.api(Arc::clone(&no_page), no_page);
        let mut document = document(&api.spec(), &self.root_api().spec(), &self.config);
        documentation::complete(&mut document, self.config.limiter.enabled);
        document
    }

    /// What bounds connections.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { shutdown_timeout: self.config.server.shutdown_timeout, ..Limits::default() }
    }

    fn api(&self, verify_page: MakePage, nowhere_page: MakePage) -> OpenApiService<Flagged<Apis>, ()> {
        let door = self.door();
        let auth = AuthApi { auth: self.auth.clone(), door };
        let otp = OtpApi { auth: self.auth.clone(), door, profiles: self.profiles.clone() };
        let frontend_url = self.config.server.frontend_url.to_string();
        let recovery = RecoveryApi { auth: self.auth.clone(), frontend_url, verify_page };
        let session = SessionApi {
            auth: self.auth.clone(),
            gate: Arc::clone(&self.gate),
            cookies: self.session_cookies(),
        };
        let oauth = OauthApi { auth: self.auth.clone(), door, cookies: self.session_cookies(), nowhere_page };
        let workos = WorkosApi { workos: self.workos.clone(), clock: self.clock.clone() };
        let picture = PictureApi {
            profiles: self.profiles.clone(),
            pictures: self.pictures.clone(),
            gate: Arc::clone(&self.gate),
        };
        let admin = AdminApi { users: self.users.clone(), gate: Arc::clone(&self.gate) };
        let (mail, clock, random) = (self.mail.clone(), self.clock.clone(), self.random.clone());
        let email = EmailApi { mail, clock, random };
        let events = EventsApi { events: self.events.clone(), audit: self.audit.clone() };
        let bans = BansApi { users: self.users.clone(), gate: Arc::clone(&self.gate) };
        let user_sessions = UserSessionsApi {
            db: self.db.clone(),
            sessions: Arc::clone(&self.sessions),
            audit: self.audit.clone(),
        };
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
        let webhooks = WebhooksApi { webhooks: self.webhooks.clone() };
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
            admin,
            staff,
            events,
            flags,
            (webhooks, archive),
        );
        OpenApiService::new(self.flagged(apis), &self.config.server.project_name, env!("CARGO_PKG_VERSION"))
    }

    /// Puts operations behind their flags.
    fn flagged<T>(&self, api: T) -> Flagged<T> {
        Flagged { api, flags: self.flags.clone() }
    }

    fn door(&self) -> Door {
        Door { secure: self.config.server.cookie_is_secure() }
    }

    /// Whether the application has pages of its own, elsewhere.
    fn own_frontend(&self) -> bool {
        let server = &self.config.server;
        server.frontend_url.origin() != server.base_url.origin()
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
            home: self.own_frontend().then(|| self.config.server.frontend_url.to_string()),
            api_prefix: self.config.server.api_prefix.clone(),
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
            frontend: self.own_frontend().then(|| self.config.server.frontend_url.clone()),
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
            api_prefix: self.config.server.api_prefix.clone(),
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

    fn edge_settings(&self, methods: Methods, repeatable: Vec<String>, pages: Pages) -> EdgeSettings {
        let server = &self.config.server;
        EdgeSettings {
            base_url: base_url(&self.config),
            api_prefix: server.api_prefix.clone(),
            pages: Some(pages),
            cors_origins: server.cors_origins.clone(),
            trusted_proxies: server.trusted_proxies.clone(),
            max_body_bytes: server.max_body_bytes,
            large_bodies: large_bodies(&self.config),
            request_timeout: server.request_timeout,
            hsts_include_subdomains: server.hsts_include_subdomains,
            repeatable,
            methods,
        }
    }

    /// Ends the background work and closes the database.
    pub async fn close(self) {
        self.tasks.close(Duration::from_secs(5)).await;
        self.webhooks.give_back().await;
        if let Err(error) = self.workos.give_back().await {
            tracing::debug!(%error, "the lease of the directory was not given back; it runs out");
        }
        if let Some(export) = &self.export {
            export.exporter.send(self.metrics.gather().await, self.clock.now());
            let exporter = Arc::clone(&export.exporter);
            if tokio::task::spawn_blocking(move || exporter.close()).await.is_err() {
                tracing::warn!("the last measurements may not have reached the collector");
            }
        }
        self.db.close().await;
    }
}

async fn send_for_ever(exporter: Arc<Exporter>, metrics: Metrics, clock: Clock, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        exporter.send(metrics.gather().await, clock.now());
    }
}

fn looks_of_caches(looks: impl Iterator<Item = (&'static str, (u64, u64))>) -> Family {
    let samples = looks.flat_map(|(cache, (hits, misses))| {
        [("hit", hits), ("miss", misses)]
            .map(|(found, count)| Sample::labelled([("cache", cache), ("result", found)], number(count)))
    });
    let help = "Looks into what is remembered: whether it was there.";
    Family::counter("gatehouse_cache_looks_total", help, samples.collect())
}

/// Connects to the database of the settings.
pub async fn connect(config: &Config) -> Result<Database, StartFault> {
    let settings = &config.database;
    let (connections, acquire) = (settings.max_connections, settings.acquire_timeout);
    let opened = match &settings.address {
        DatabaseAddress::Sqlite { path } => {
            make_folder(path.parent())?;
            sqlite::open(path, connections, acquire).await
        }
        DatabaseAddress::Postgres { url, .. } => {
            postgres::open(url.expose_secret(), connections, acquire).await
        }
    };
    opened.map_err(|error| unusable(&settings.address, &error))
}

/// Moves the schema; returns the names of the steps that were applied or undone, in order.
pub async fn migrate(
    config: &Config,
    db: &Database,
    direction: Direction,
) -> Result<Vec<&'static str>, StartFault> {
    Schema(db).migrate(direction).await.map_err(|fault| match fault {
        SchemaFault::Database(error) => unusable(&config.database.address, &error),
        other => other.into(),
    })
}

fn unusable(address: &DatabaseAddress, error: &DbErr) -> StartFault {
    StartFault::Database {
        address: address.to_string(),
        reason: error.to_string(),
        remedy: match address {
            DatabaseAddress::Postgres { url, .. } => postgres::remedy(error, url.expose_secret()),
            DatabaseAddress::Sqlite { .. } => None,
        },
    }
}

fn make_folder(path: Option<&std::path::Path>) -> Result<(), StartFault> {
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else { return Ok(()) };
    let made = std::fs::create_dir_all(path);
    // SQLite would only say that it can't open the file.
    let writable = made.and_then(|()| Ok(access(path, Access::WRITE_OK | Access::EXEC_OK)?));
    writable.map_err(|reason| StartFault::Folder {
        path: path.display().to_string(),
        reason,
        uid: rustix::process::getuid().as_raw(),
    })
}

async fn prepare_schema(config: &Config, db: &Database) -> Result<(), StartFault> {
    if config.database.auto_migrate {
        let applied = migrate(config, db, Direction::Up(None)).await?;
        if !applied.is_empty() {
            tracing::info!(steps = applied.len(), "migrated the database");
        }
    }
    Ok(Schema(db).check().await?)
}

/// The keys of the settings.
pub(crate) fn secrets(config: &Config) -> Secrets {
    let previous: Vec<&[u8]> = config.tokens.previous_secrets.iter().map(MasterSecret::expose).collect();
    Secrets::new(config.tokens.master_secret.expose(), &previous)
}

/// The flags in force, with one for each operation.
async fn open_flags(
    config: &Config,
    db: &Database,
    clock: &Clock,
    random: &Random,
    tasks: &Tasks,
    audit: Audit,
) -> Result<Flags, DbErr> {
    let parts = flags::Parts {
        db: db.clone(),
        clock: clock.clone(),
        random: random.clone(),
        tasks: tasks.clone(),
        audit,
    };
    let settings = flags::Settings {
        file: config.server.data_dir.join(&config.flags.file),
        enforced: config.flags.enabled,
    };
    let pages = FrontPages::flags();
    let operations = [flags::flags_of::<Apis>(), flags::flags_of::<RootApis>(), pages].concat();
    Flags::open(parts, settings, operations).await
}

fn session_settings(config: &Config) -> sessions::Settings {
    let tokens = &config.tokens;
    sessions::Settings {
        issuer: base_url(config),
        algorithm: match tokens.algorithm {
            TokenAlgorithm::EdDsa => Algorithm::EdDsa,
            TokenAlgorithm::Es256 => Algorithm::Es256,
            TokenAlgorithm::Hs256 => Algorithm::Hs256,
        },
        access_lifetime: tokens.access_lifetime,
        idle: tokens.refresh_idle,
        absolute: tokens.session_absolute,
        admin_idle: tokens.admin_idle,
        admin_absolute: tokens.admin_session,
        cookie_name: config.server.cookie_name(),
        origin: config.server.origin(),
        allowed_origins: config.server.cors_origins.clone(),
        second_factor: roles_that_need_a_second_factor(config),
    }
}

fn roles_that_need_a_second_factor(config: &Config) -> Vec<(Role, Timestamp)> {
    let required = config.otp.required_roles.iter();
    let always = Timestamp::from_millis(i64::MIN);
    required.filter_map(|needs| Some((needs.role.parse().ok()?, needs.from.unwrap_or(always)))).collect()
}

fn otp_settings(config: &Config) -> otp::Settings {
    let settings = &config.otp;
    otp::Settings {
        issuer: config.server.project_name.clone(),
        digits: settings.length,
        interval: settings.authenticator_interval,
        window: settings.window,
        email_interval: settings.email_interval,
        email_allowed: settings.email_allowed,
    }
}

fn connections(
    config: &Config,
    clock: &Clock,
    random: &Random,
    secrets: &Arc<Secrets>,
) -> Result<Connections, StartFault> {
    let parts = oauth::Parts {
        clock: clock.clone(),
        random: random.clone(),
        secrets: Arc::clone(secrets),
        base_url: base_url(config),
        api_url: api_url(config),
        project_name: config.server.project_name.clone(),
    };
    Connections::open(&config.oauth, &parts).map_err(StartFault::Setting)
}

/// Where people may be sent who come back: what the operator allows, else this server and the application.
fn allowed_places(config: &Config) -> Vec<RedirectRule> {
    let server = &config.server;
    let origin = |url: &url::Url| url.join("/").ok().map(RedirectRule::Below);
    let allowed = config.oauth.allowed_redirect_uris.clone();
    if !allowed.is_empty() {
        return allowed;
    }
    [&server.base_url, &server.frontend_url].into_iter().filter_map(origin).collect()
}

fn oauth_settings(config: &Config) -> oauth::Settings {
    let server = &config.server;
    let usual = if server.frontend_url.origin() == server.base_url.origin() {
        Place::Own("/account".to_owned())
    } else {
        Place::App(server.frontend_url.clone())
    };
    oauth::Settings {
        api_url: api_url(config),
        places: Places::new(allowed_places(config), usual),
        link_unverified_local: config.oauth.link_unverified_local,
    }
}

fn workos_settings(config: &Config) -> workos::Settings {
    let settings = &config.workos;
    workos::Settings {
        api_key: settings.api_key.clone(),
        client_id: settings.client_id.clone(),
        interval: settings.interval,
        request_timeout: settings.request_timeout,
        base_url: settings.base_url.clone(),
        webhook_secret: settings.webhook_secret.clone(),
    }
}

fn backup_plan(config: &Config) -> Option<Plan> {
    let settings = &config.backups;
    let schedule = settings.schedule.clone()?;
    let keep = usize::try_from(settings.keep).unwrap_or(usize::MAX);
    Some(Plan { schedule, folder: settings.dir.clone(), keep })
}

fn limit_settings(config: &Config) -> rate_limit::Settings {
    rate_limit::Settings {
        throttles: config.throttles.clone(),
        requests: config.limiter.requests(),
        lenient_on_loopback: config.server.environment.is_local(),
        redis: config.limiter.redis.clone(),
    }
}

fn event_settings(config: &Config) -> events::Settings {
    let broker = config.rabbitmq.address.is_some();
    events::Settings { retention: config.users.event_retention, broker }
}

fn broker_settings(config: &Config) -> Option<broker::Settings> {
    let settings = &config.rabbitmq;
    Some(broker::Settings {
        address: settings.address.clone()?,
        exchange: settings.exchange.clone(),
        queue: settings.consumer.then(|| settings.queue.clone()),
    })
}

fn user_settings(config: &Config) -> users::Settings {
    users::Settings {
        username_min: config.users.username_min,
        display_name_free: config.users.display_name_free,
        deleted_retention: config.users.deleted_retention,
        history_retention: config.users.history_retention,
    }
}

fn file_settings(config: &Config, api_url: &str) -> files::Settings {
    files::Settings {
        max_bytes: config.files.max_upload_bytes,
        max_user_bytes: config.files.max_user_bytes,
        max_user_files: config.files.max_user_files,
        api_url: api_url.to_owned(),
    }
}

/// The folder, or the bucket, of files. Uploads go through the folder in any case.
fn file_storage(config: &Config) -> Result<files::Storage, StartFault> {
    let folder = config.server.data_dir.join("files");
    make_folder(Some(&folder))?;
    files::open_storage(&folder, &config.files).map_err(StartFault::Setting)
}

/// Letters to people, sets of flags, uploads and whole databases: the edge lets larger ones through, waits longer for
/// uploads, and for databases as long as they take.
fn large_bodies(config: &Config) -> Vec<LargeBodies> {
    let server = &config.server;
    let letters = LargeBodies {
        begins: format!("{}/email/send-email", server.api_prefix),
        ends: "",
        most: LARGEST_LETTER,
        timeout: server.request_timeout,
    };
    let most = usize::try_from(config.files.max_upload_bytes).unwrap_or(usize::MAX);
    let uploads =
        [("/file", "/file"), ("/user/", "/file"), ("/user/", "/image")].map(|(begins, ends)| LargeBodies {
            begins: format!("{}{begins}", server.api_prefix),
            ends,
            most: most.saturating_add(AROUND_A_FILE),
            timeout: server.request_timeout.max(UPLOAD),
        });
    let flags = LargeBodies {
        begins: format!("{}/admin/feature", server.api_prefix),
        most: flags::LARGEST,
        ..letters.clone()
    };
    let most = usize::try_from(config.files.max_import_bytes).unwrap_or(usize::MAX);
    let databases = LargeBodies {
        begins: format!("{}/db/", server.api_prefix),
        ends: "",
        most: most.saturating_add(AROUND_A_FILE),
        timeout: Duration::MAX,
    };
    [letters, flags, databases].into_iter().chain(uploads).collect()
}

/// Whether the domains of addresses are looked up: where mail is sent, and everywhere but in `local`.
fn checks_domains(config: &Config, mail: &Mail) -> bool {
    let by_default = !config.server.environment.is_local();
    mail.is_on() && config.sign_up.check_mx.unwrap_or(by_default)
}

fn mail_settings(config: &Config) -> mail::Settings {
    mail::Settings {
        mail: config.mail.clone(),
        project_name: config.server.project_name.clone(),
        base_url: base_url(config),
        is_local: config.server.environment.is_local(),
        templates: config.server.data_dir.join("templates").join("email"),
    }
}

/// Where webhooks may lead: by http only where somebody tries things out, inside only where the operator says so.
fn webhook_reach(config: &Config) -> Reach {
    let private = config.webhooks.allow_private;
    Reach { plain: private || config.server.environment.is_local(), private }
}

fn page_settings(config: &Config) -> pages::Settings {
    let origin = |rule: &RedirectRule| match rule {
        RedirectRule::Exactly(url) | RedirectRule::Below(url) => url.origin(),
    };
    let origins = allowed_places(config).iter().map(origin).filter(url::Origin::is_tuple).collect::<Vec<_>>();
    let own = config.server.base_url.origin();
    let mut form_origins: Vec<String> = origins
        .into_iter()
        .filter(|origin| *origin != own)
        .map(|origin| origin.ascii_serialization())
        .collect();
    form_origins.sort_unstable();
    form_origins.dedup();
    pages::Settings {
        project_name: config.server.project_name.clone(),
        api_prefix: config.server.api_prefix.clone(),
        contact: config.mail.contact.clone(),
        secure: config.server.cookie_is_secure(),
        form_origins,
    }
}

fn auth_settings(config: &Config, mail: &Mail) -> auth::Settings {
    auth::Settings {
        registration_enabled: config.sign_up.enabled,
        verification: mail.is_on() && config.sign_up.require_verification.unwrap_or(true),
        throttle_login: config.throttles.login,
        throttle_register: config.throttles.register,
        throttle_forgot: config.throttles.forgot,
        lenient_on_loopback: config.server.environment.is_local(),
        services: config.services.clone(),
    }
}

fn passwords(config: &Config, random: &Random) -> anyhow::Result<Passwords> {
    let settings = &config.passwords;
    let cost = HashSettings {
        memory_kib: settings.argon2.memory_kib,
        iterations: settings.argon2.iterations,
        lanes: settings.argon2.lanes,
        threads: settings.max_concurrent_hashes,
    };
    let policy = PasswordPolicy::new(settings.min_length, settings.composition, &config.server.project_name);
    Ok(Passwords::new(policy, Hasher::start(cost, random.clone())?))
}

/// Where clients reach the server, without a slash at its end.
fn base_url(config: &Config) -> String {
    config.server.base_url.as_str().trim_end_matches('/').to_owned()
}

fn api_url(config: &Config) -> String {
    format!("{}{}", base_url(config), config.server.api_prefix)
}

fn wrong_admin(errors: &[crate::platform::problem::FieldError]) -> anyhow::Error {
    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("ADMIN_{}: {}", error.field.to_uppercase(), error.message))
        .collect();
    anyhow::anyhow!("{}", lines.join("; "))
}
