//! What the configuration says, as each feature wants to be told.

use std::time::Duration;

use url::Url;

use crate::archive::Plan;
use crate::events::{self, broker};
use crate::mail::{self, Mail};
use crate::oauth::{self, Place, Places};
use crate::platform::clock::Timestamp;
use crate::platform::config::{Config, MasterSecret, RedirectRule, TokenAlgorithm};
use crate::platform::hashing::HashSettings;
use crate::platform::outgoing::Reach;
use crate::platform::secrets::Secrets;
use crate::server::edge::LargeBodies;
use crate::sessions::{self, Algorithm, Role};
use crate::users::{self, PasswordPolicy};
use crate::{auth, files, flags, otp, pages, rate_limit, workos};

/// Largest letter that staff may send, in bytes.
const LARGEST_LETTER: usize = 1024 * 1024;
/// What the body of an upload may hold besides the file, in bytes.
const AROUND_A_FILE: usize = 64 * 1024;
/// How long an upload may take.
const UPLOAD: Duration = Duration::from_mins(2);

/// The keys of the settings.
pub(crate) fn secrets(config: &Config) -> Secrets {
    let previous: Vec<&[u8]> = config.tokens.previous_secrets.iter().map(MasterSecret::expose).collect();
    Secrets::new(config.tokens.master_secret.expose(), &previous)
}

pub(super) fn sessions(config: &Config) -> sessions::Settings {
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

pub(super) fn otp(config: &Config) -> otp::Settings {
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

/// Where people may be sent who come back: what the operator allows, else this server and the application.
fn allowed_places(config: &Config) -> Vec<RedirectRule> {
    let server = &config.server;
    let origin = |url: &Url| url.join("/").ok().map(RedirectRule::Below);
    let allowed = config.oauth.allowed_redirect_uris.clone();
    if !allowed.is_empty() {
        return allowed;
    }
    [&server.base_url, &server.frontend_url].into_iter().filter_map(origin).collect()
}

pub(super) fn oauth(config: &Config) -> oauth::Settings {
    let own = || Place::Own("/account".to_owned());
    let usual = frontend(config).cloned().map_or_else(own, Place::App);
    oauth::Settings {
        api_url: api_url(config),
        places: Places::new(allowed_places(config), usual),
        link_unverified_local: config.oauth.link_unverified_local,
    }
}

pub(super) fn workos(config: &Config) -> workos::Settings {
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

pub(super) fn backups(config: &Config) -> Option<Plan> {
    let settings = &config.backups;
    let schedule = settings.schedule.clone()?;
    let keep = usize::try_from(settings.keep).unwrap_or(usize::MAX);
    Some(Plan { schedule, folder: settings.dir.clone(), keep })
}

pub(super) fn rate_limits(config: &Config) -> rate_limit::Settings {
    rate_limit::Settings {
        throttles: config.throttles.clone(),
        requests: config.limiter.requests(),
        lenient_on_loopback: config.server.environment.is_local(),
        redis: config.limiter.redis.clone(),
    }
}

pub(super) fn events(config: &Config) -> events::Settings {
    let broker = config.rabbitmq.address.is_some();
    events::Settings { retention: config.users.event_retention, broker }
}

pub(super) fn broker(config: &Config) -> Option<broker::Settings> {
    let settings = &config.rabbitmq;
    Some(broker::Settings {
        address: settings.address.clone()?,
        exchange: settings.exchange.clone(),
        queue: settings.consumer.then(|| settings.queue.clone()),
    })
}

pub(super) fn users(config: &Config) -> users::Settings {
    users::Settings {
        username_min: config.users.username_min,
        display_name_free: config.users.display_name_free,
        deleted_retention: config.users.deleted_retention,
        history_retention: config.users.history_retention,
    }
}

pub(super) fn files(config: &Config, api_url: &str) -> files::Settings {
    files::Settings {
        max_bytes: config.files.max_upload_bytes,
        max_user_bytes: config.files.max_user_bytes,
        max_user_files: config.files.max_user_files,
        api_url: api_url.to_owned(),
    }
}

/// Letters to people, sets of flags, uploads and whole databases: the edge lets larger ones through, waits longer for
/// uploads, and for databases as long as they take.
pub(super) fn large_bodies(config: &Config) -> Vec<LargeBodies> {
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
pub(super) fn checks_domains(config: &Config, mail: &Mail) -> bool {
    let by_default = !config.server.environment.is_local();
    mail.is_on() && config.sign_up.check_mx.unwrap_or(by_default)
}

pub(super) fn mail(config: &Config) -> mail::Settings {
    mail::Settings {
        mail: config.mail.clone(),
        project_name: config.server.project_name.clone(),
        base_url: base_url(config),
        is_local: config.server.environment.is_local(),
        templates: config.server.data_dir.join("templates").join("email"),
    }
}

/// Where webhooks may lead: by http only where somebody tries things out, inside only where the operator says so.
pub(super) fn webhook_reach(config: &Config) -> Reach {
    let private = config.webhooks.allow_private;
    Reach { plain: private || config.server.environment.is_local(), private }
}

pub(super) fn pages(config: &Config) -> pages::Settings {
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

pub(super) fn auth(config: &Config, mail: &Mail) -> auth::Settings {
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

pub(super) fn hashing(config: &Config) -> HashSettings {
    let settings = &config.passwords;
    HashSettings {
        memory_kib: settings.argon2.memory_kib,
        iterations: settings.argon2.iterations,
        lanes: settings.argon2.lanes,
        threads: settings.max_concurrent_hashes,
    }
}

pub(super) fn passwords(config: &Config) -> PasswordPolicy {
    let settings = &config.passwords;
    PasswordPolicy::new(settings.min_length, settings.composition, &config.server.project_name)
}

/// Where the application has pages of its own, if it has them elsewhere.
pub(super) fn frontend(config: &Config) -> Option<&Url> {
    let server = &config.server;
    Some(&server.frontend_url).filter(|frontend| frontend.origin() != server.base_url.origin())
}

/// Where clients reach the server, without a slash at its end.
pub(super) fn base_url(config: &Config) -> String {
    config.server.base_url.as_str().trim_end_matches('/').to_owned()
}

pub(super) fn api_url(config: &Config) -> String {
    format!("{}{}", base_url(config), config.server.api_prefix)
}
