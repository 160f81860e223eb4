//! Runs a scenario on many connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Options;
use crate::report::Report;
use crate::scenario::{Scenario, Worker};

/// One scenario, on `connections` connections.
pub async fn one(scenario: Scenario, options: &Options) -> anyhow::Result<Report> {
    let workers = workers(scenario, options).await?;
    all(workers, options).await
}

/// Sign-ins as hard as `options` say, and on connections of their own 200 `me` a second, which must not feel it.
pub async fn mixed(options: &Options) -> anyhow::Result<(Report, Report)> {
    let calm = Options { connections: 8, rate: Some(200.0), ..options.clone() };
    let (storm, beside) = (workers(Scenario::Login, options).await?, workers(Scenario::Me, &calm).await?);
    tokio::try_join!(all(storm, options), all(beside, &calm))
}

async fn workers(scenario: Scenario, options: &Options) -> anyhow::Result<Vec<Worker>> {
    let mut workers = Vec::new();
    for number in 0..options.connections {
        workers.push(Worker::ready(scenario, number, options).await?);
    }
    Ok(workers)
}

async fn all(workers: Vec<Worker>, options: &Options) -> anyhow::Result<Report> {
    let schedule = Arc::new(Schedule::new(options));
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn(work(worker, Arc::clone(&schedule)));
    }
    let mut whole = Report::over(options.seconds);
    while let Some(report) = tasks.join_next().await {
        whole.merge(report??);
    }
    Ok(whole)
}

/// When the acts of all workers together begin, and which of them count.
struct Schedule {
    start: Instant,
    counts_from: Instant,
    end: Instant,
    rate: Option<f64>,
    begun: AtomicU64,
}

impl Schedule {
    fn new(options: &Options) -> Self {
        let start = Instant::now();
        let counts_from = start + Duration::from_secs_f64(options.warm_up);
        let end = counts_from + Duration::from_secs_f64(options.seconds);
        Self { start, counts_from, end, rate: options.rate, begun: AtomicU64::new(0) }
    }

    /// Waits for the next act's turn; from then on its time runs, even when nobody was free to begin it.
    #[expect(clippy::cast_precision_loss)]
    async fn turn(&self) -> Instant {
        let Some(rate) = self.rate else { return Instant::now() };
        let before = self.begun.fetch_add(1, Ordering::Relaxed) as f64;
        let due = self.start + Duration::from_secs_f64(before / rate);
        tokio::time::sleep_until(due).await;
        due
    }
}

async fn work(mut worker: Worker, schedule: Arc<Schedule>) -> anyhow::Result<Report> {
    let mut report = Report::default();
    loop {
        let due = schedule.turn().await;
        if due >= schedule.end || Instant::now() >= schedule.end {
            return Ok(report);
        }
        let ask = worker.next();
        let asked = Instant::now();
        let answer = worker.client.send(&ask).await;
        if due >= schedule.counts_from {
            report.add(&answer, due.elapsed(), asked.elapsed());
        }
        match &answer {
            Ok(answer) => worker.learn(answer)?,
            // A refused connection must not turn into a busy loop.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
