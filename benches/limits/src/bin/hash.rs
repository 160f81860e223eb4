//! The limit of sign-in and sign-up: argon2id alone, on one core. `hash [SECONDS [KIB ITERATIONS LANES]]`

use std::time::{Duration, Instant};

use anyhow::anyhow;
use argon2::{Algorithm, Argon2, Block, Params, Version};

fn main() -> anyhow::Result<()> {
    let numbers: Vec<u32> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [seconds, memory, iterations, lanes] = [(0, 10), (1, 19_456), (2, 2), (3, 1)]
        .map(|(at, default)| numbers.get(at).copied().unwrap_or(default));
    let params = Params::new(memory, iterations, lanes, None).map_err(|error| anyhow!("{error}"))?;
    let mut blocks = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (start, mut hashes, mut out) = (Instant::now(), 0_u32, [0; 32]);
    while start.elapsed() < Duration::from_secs(seconds.into()) {
        argon2
            .hash_password_into_with_memory(
                b"correct horse battery",
                &hashes.to_le_bytes().repeat(4),
                &mut out,
                &mut blocks,
            )
            .map_err(|error| anyhow!("{error}"))?;
        hashes += 1;
    }
    let per_second = f64::from(hashes) / start.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "per_second": per_second }));
    Ok(())
}
