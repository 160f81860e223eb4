//! What a decision costs: `cargo bench --bench permissions`. Prints median and 99th percentile.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use gatehouse::permissions::{Account, Action, Context, Permissions, Resource, Subject};
use gatehouse::sessions::Role;
use uuid::Uuid;

const SAMPLES: usize = 10_000;

/// Names an account on the action that is measured, so that answers can't be remembered.
const BY_NAME: &str = r#"
    @id("nobody-in-particular")
    permit (principal == Account::"00000000-0000-0000-0000-000000000000", action == Action::"user:read", resource);
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/default.cedar");
    std::fs::copy(default, folder.path().join("default.cedar"))?;
    std::fs::write(folder.path().join("by-name.cedar"), BY_NAME)?;

    let start = Instant::now();
    let built_in = Permissions::open(None)?;
    println!("opening the built-in policies: {:?}", start.elapsed());
    let by_name = Permissions::open(Some(folder.path()))?;

    report("decision, the like was asked before (100 each)", 100, || read(&built_in));
    report("decision by Cedar", 1, || read(&by_name));
    report("explanation", 1, || explain(&built_in));
    Ok(())
}

/// The decision of the read path: a user reads another.
fn read(permissions: &Permissions) {
    let (subject, target) = users();
    black_box(permissions.decide(black_box(&subject), Action::UserRead, &target, &Context::default()));
}

fn explain(permissions: &Permissions) {
    let (subject, target) = users();
    black_box(permissions.explain(black_box(&subject), Action::UserRead, &target, &Context::default()));
}

fn users() -> (Subject, Resource<'static>) {
    let user = Role::User.into();
    let target = Account::active(Uuid::from_u128(2), user);
    (Subject::account(Uuid::from_u128(1), user), Resource::Account(target))
}

/// Times `what`, `each` times per sample where once is too short for the clock.
fn report(name: &str, each: u32, what: impl Fn()) {
    let mut samples: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            (0..each).for_each(|_| what());
            start.elapsed() / each
        })
        .collect();
    samples.sort_unstable();
    println!("{name}: median {:?}, p99 {:?}", samples[SAMPLES / 2], samples[SAMPLES * 99 / 100]);
}
