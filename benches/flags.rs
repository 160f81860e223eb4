//! What the evaluation of a flag costs: `cargo bench --bench flags`. Prints median and 99th percentile.

use std::hint::black_box;
use std::time::{Duration, Instant};

use gatehouse::flags::{FlagSet, Person};
use gatehouse::sessions::{Role, Roles};
use uuid::Uuid;

const SAMPLES: usize = 10_000;
/// Once is too short for the clock.
const EACH: u32 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rule = r#"[{"percentageOfUsers":0,"userRoles":["tester"]},{"percentageOfUsers":0.5}]"#;
    let flags = (0..500).map(|number| {
        let value = if number % 2 == 0 { "true" } else { rule };
        format!("\"FLAG_{number:03}\":{value}")
    });
    let text = format!("{{{}}}", flags.collect::<Vec<_>>().join(","));
    let start = Instant::now();
    let set = FlagSet::parse(text.as_bytes())?;
    println!("reading a file of 500 flags: {:?}", start.elapsed());

    let person = Person { id: Uuid::from_u128(7), roles: [Role::User].into_iter().collect::<Roles>() };
    report("a flag that is on for everybody", || {
        black_box(set.decide(black_box("FLAG_250"), None));
    });
    report("a flag with a percentage", || {
        black_box(set.decide(black_box("FLAG_251"), Some(&person)));
    });
    report("a flag that is not there", || {
        black_box(set.decide(black_box("NO_SUCH_FLAG"), None));
    });
    Ok(())
}

fn report(name: &str, what: impl Fn()) {
    let mut samples: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            (0..EACH).for_each(|_| what());
            start.elapsed() / EACH
        })
        .collect();
    samples.sort_unstable();
    println!("{name}: median {:?}, p99 {:?}", samples[SAMPLES / 2], samples[SAMPLES * 99 / 100]);
}
