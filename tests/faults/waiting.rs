//! Waiting for something to become true, and no longer.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long what must happen may take on a busy machine, where no figure of its own is promised.
pub const SOON: Duration = Duration::from_mins(1);

const PAUSE: Duration = Duration::from_millis(10);

/// Asks until the answer is `Ok`; fails with the last one when that takes longer than `within`.
pub async fn until<T, E: Debug>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(last) if began.elapsed() > within => panic!("{what}: not within {within:?}, but {last:?}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Asks until it is true.
pub async fn until_true(what: &str, within: Duration, mut ask: impl AsyncFnMut() -> bool) {
    until(what, within, async || ask().await.then_some(()).ok_or("no")).await;
}
