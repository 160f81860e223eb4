//! Builds every feature once, in order, as plain values; starts and stops the background work.

mod background;
mod front;
mod measures;
mod settings;
mod start;

use std::sync::Arc;

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

pub(crate) use settings::secrets;
pub use start::{StartFault, admin_of_settings, connect, migrate, require_database};

use crate::archive::{self, Archive, Schedule};
use crate::audit::Audit;
use crate::auth::{self, Auth};
use crate::events::{Broker, Events, broker};
use crate::files::{self, Files};
use crate::flags::{self, Flags};
use crate::mail::{self, Mail};
use crate::oauth::{self, Connections, Oauth};
use crate::otp::Otp;
use crate::permissions::{Gate, Permissions};
use crate::pictures::Pictures;
use crate::platform::clock::Clock;
use crate::platform::config::{Config, Directory};
use crate::platform::db::Database;
use crate::platform::domains::Domains;
use crate::platform::ground::Ground;
use crate::platform::hashing::Hasher;
use crate::platform::problem::{Failure, Refusal};
use crate::platform::random::Random;
use crate::platform::secrets::{Key32, Secrets};
use crate::platform::tasks::Tasks;
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::telemetry::otlp::{self, Export};
use crate::platform::web::TraceIds;
use crate::profiles::{self, Profiles};
use crate::proofs::Proofs;
use crate::rate_limit::Limits as RateLimits;
use crate::sessions::{OpaqueToken, Sessions};
use crate::users::{Passwords, Users};
use crate::webhooks::{self, Webhooks};
use crate::workos::{self, Workos};

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
        start::prepare_schema(&config, &db).await?;
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
        let ground = Ground { db: db.clone(), clock: clock.clone(), random: random.clone() };
        let metrics = Metrics::new(clock.clone());
        let export = otlp::start(config.otlp.clone(), &metrics, &clock, &random)?;
        let secrets = Arc::new(settings::secrets(&config));
        let events = Events::new(ground.clone(), settings::events(&config));
        let broker = settings::broker(&config).map(|settings| {
            let tracer = export.as_ref().and_then(|export| export.tracer.clone());
            Broker::new(broker::Parts { ground: ground.clone(), placed: events.placed(), tracer }, settings)
        });
        let audit = Audit::new(db.clone(), clock.clone(), Arc::clone(&secrets));
        let sessions =
            Sessions::open(ground.clone(), Arc::clone(&secrets), events.clone(), settings::sessions(&config));
        let sessions = Arc::new(sessions.await?);
        let policies = config.server.data_dir.join("policies");
        let permissions = Arc::new(Permissions::open(Some(&policies))?);
        let directory_open = matches!(config.users.directory, Directory::Members);
        let gate = Arc::new(Gate { permissions, directory_open });
        let rate_limits = RateLimits::new(settings::rate_limits(&config), clock.clone(), &secrets);
        let rate_limits = Arc::new(rate_limits.map_err(anyhow::Error::from)?);
        let tasks = Tasks::default();
        let flags = open_flags(&config, &ground, &tasks, audit.clone(), secrets.derive("flags cursor")).await;
        let flags = flags.map_err(anyhow::Error::from)?;
        let users = Users::new(
            ground.clone(),
            Arc::clone(&sessions),
            events.clone(),
            audit.clone(),
            settings::users(&config),
        );
        let api_url = settings::api_url(&config);
        let parts = files::Parts {
            ground: ground.clone(),
            secrets: &secrets,
            users: users.clone(),
            tasks: tasks.clone(),
        };
        let files = Files::new(parts, file_storage(&config)?, settings::files(&config, &api_url));
        let pictures = Pictures::open(&db, users.clone(), files.clone())?;
        let parts =
            mail::Parts { ground: ground.clone(), secrets: Arc::clone(&secrets), audit: audit.clone() };
        let mail = Mail::open(parts, settings::mail(&config)).map_err(StartFault::Setting)?;
        let parts = webhooks::Parts {
            ground: ground.clone(),
            secrets: Arc::clone(&secrets),
            events: events.clone(),
            mail: mail.clone(),
            audit: audit.clone(),
        };
        let webhooks = Webhooks::new(parts, settings::webhook_reach(&config));
        let otp = Otp::new(ground.clone(), Arc::clone(&secrets), users.clone(), settings::otp(&config));
        let hasher = Hasher::start(settings::hashing(&config), random.clone())?;
        let passwords = Passwords::new(settings::passwords(&config), hasher);
        let proofs = Proofs::new(ground.clone());
        let domains =
            if settings::checks_domains(&config, &mail) { Domains::of_system() } else { Domains::unasked() };
        let parts = workos::Parts {
            ground: ground.clone(),
            users: users.clone(),
            sessions: Arc::clone(&sessions),
            tasks: tasks.clone(),
        };
        let workos = Workos::new(parts, settings::workos(&config))?;
        let parts = profiles::Parts {
            ground: ground.clone(),
            secrets: &secrets,
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
        let parts = oauth::Parts {
            ground: ground.clone(),
            secrets: Arc::clone(&secrets),
            users: users.clone(),
            pictures: pictures.clone(),
            tasks: tasks.clone(),
            connections: connections(&config, &clock, &random, &secrets)?,
        };
        let oauth = Oauth::new(parts, settings::oauth(&config));
        let parts = auth::Parts {
            ground: ground.clone(),
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
        let auth = Auth::new(parts, settings::auth(&config, &mail));
        let archive = Archive::new(archive::Parts {
            ground: ground.clone(),
            audit: audit.clone(),
            sessions: Arc::clone(&sessions),
            gate: Arc::clone(&gate),
            tasks: tasks.clone(),
            users: users.clone(),
            files: files.clone(),
            pictures: pictures.clone(),
            mail: mail.clone(),
            otp: otp.clone(),
            oauth: oauth.clone(),
            data_dir: config.server.data_dir.clone(),
            most_bytes: config.files.max_import_bytes,
        });
        let backups = settings::backups(&config).map(|plan| Schedule::new(archive.clone(), plan));
        let trace_ids = Arc::new(TraceIds::new(clock.clone(), &random));
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

    /// Makes the admin of the settings on a server without one, or a set-up link for the operator.
    pub async fn first_start(&self) -> Result<Option<OpaqueToken>, StartFault> {
        // The dictionaries that a password is judged by stay in memory once they were asked: not for an admin who is there.
        if self.config.first_admin.is_some() && self.users.has_admin().await.map_err(anyhow::Error::from)? {
            return Ok(None);
        }
        let Some((new, password)) = admin_of_settings(&self.config)? else {
            return Ok(self.auth.set_up_link().await.map_err(anyhow::Error::from)?.map(|link| link.0));
        };
        let username = new.username.to_string();
        match self.auth.make_first_admin(new, &password).await {
            Ok(true) => tracing::warn!(username, "made the first admin of ADMIN_*"),
            Ok(false) => {}
            Err(Failure::Refused(refusal)) => {
                return Err(StartFault::Other(anyhow::anyhow!("ADMIN_*: {}", refusal.problem())));
            }
            Err(Failure::Broken(breakage)) => {
                return Err(StartFault::Other(breakage.into_cause().context("ADMIN_*")));
            }
        }
        Ok(None)
    }
}

/// The flags in force, with one for each operation.
async fn open_flags(
    config: &Config,
    ground: &Ground,
    tasks: &Tasks,
    audit: Audit,
    cursor_key: Key32,
) -> Result<Flags, DbErr> {
    let parts = flags::Parts { ground: ground.clone(), tasks: tasks.clone(), audit, cursor_key };
    let settings = flags::Settings {
        file: config.server.data_dir.join(&config.flags.file),
        enforced: config.flags.enabled,
    };
    Flags::open(parts, settings, front::flags_of_operations()).await
}

fn connections(
    config: &Config,
    clock: &Clock,
    random: &Random,
    secrets: &Arc<Secrets>,
) -> Result<Connections, StartFault> {
    let parts = oauth::ConnectionParts {
        clock: clock.clone(),
        random: random.clone(),
        secrets: Arc::clone(secrets),
        base_url: settings::base_url(config),
        api_url: settings::api_url(config),
        project_name: config.server.project_name.clone(),
    };
    Connections::open(&config.oauth, &parts).map_err(StartFault::Setting)
}

/// The folder, or the bucket, of files. Uploads go through the folder in any case.
fn file_storage(config: &Config) -> Result<files::Storage, StartFault> {
    let folder = config.server.data_dir.join("files");
    start::make_folder(Some(&folder))?;
    files::open_storage(&folder, &config.files).map_err(StartFault::Setting)
}
