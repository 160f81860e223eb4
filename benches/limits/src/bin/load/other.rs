//! Measurements that are no load.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Method;
use hyper::header::LINK;
use limits::percentile;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::Instant;

use crate::Options;
use crate::client::{Ask, Client};
use crate::report::millis;
use crate::scenario::{Scenario, Worker};

pub async fn sign_in(options: &Options) -> anyhow::Result<()> {
    println!("{}", Worker::ready(Scenario::Me, 0, options).await?.access_token());
    Ok(())
}

/// Follows `Link: rel="next"` from the first page; then times the first and the last page reached.
pub async fn walk(options: &Options, pages: u32) -> anyhow::Result<Value> {
    let mut worker = Worker::ready(Scenario::List, 0, options).await?;
    let token = worker.access_token().to_owned();
    let mut paths = vec!["/api/user/?limit=100&order=asc".to_owned()];
    for _ in 1..pages {
        let ask = Ask::get(paths.last().context("a page")?.clone()).by(&token);
        let answer = worker.client.send(&ask).await?;
        if answer.status != 200 {
            bail!("{}: {} {}", ask.path, answer.status, String::from_utf8_lossy(&answer.body));
        }
        let Some(next) = answer.headers.get(LINK).and_then(|link| next_of(link.to_str().ok()?)) else {
            break;
        };
        paths.push(next);
    }
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        // In turn, so that a disturbance meets both.
        for (path, times) in [(paths.first(), &mut first), (paths.last(), &mut last)] {
            let ask = Ask::get(path.context("a page")?.clone()).by(&token);
            let start = Instant::now();
            worker.client.send(&ask).await?;
            times.push(u64::try_from(start.elapsed().as_micros())?);
        }
    }
    first.sort_unstable();
    last.sort_unstable();
    let [first, last] = [first, last].map(|times| millis(percentile(&times, 0.5)));
    Ok(json!({ "pages": paths.len(), "first_ms": first, "last_ms": last, "ratio": last / first }))
}

/// The path and query of the link whose relation is `next`.
fn next_of(link: &str) -> Option<String> {
    let entry = link.split(',').find(|entry| entry.contains("rel=\"next\""))?;
    let target = entry.split_once('<')?.1.split_once('>')?.0;
    let path = target.split_once("://").map_or(target, |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]);
    Some(path.to_owned())
}

/// Uploads of one client, each deleted before the next: the quota is smaller than what is measured.
pub async fn uploads(options: &Options, bytes: usize) -> anyhow::Result<Value> {
    let mut worker = Worker::ready(Scenario::Me, 0, options).await?;
    let token = worker.access_token().to_owned();
    let body = format!(
        "--piece\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bench\"\r\n\r\n{}\r\n--piece--\r\n",
        "x".repeat(bytes)
    );
    let upload = Ask {
        method: Method::POST,
        body: Some(("multipart/form-data; boundary=piece", body)),
        ..Ask::get("/api/file/").by(&token)
    };
    let (end, mut taken, mut done) = (Instant::now() + Duration::from_secs_f64(options.seconds), 0.0, 0_u32);
    while Instant::now() < end {
        let start = Instant::now();
        let answer = worker.client.send(&upload).await?;
        taken += start.elapsed().as_secs_f64();
        done += 1;
        if answer.status != 201 {
            bail!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        let file: Value = serde_json::from_slice(&answer.body)?;
        let delete =
            Ask { method: Method::DELETE, ..Ask::get(format!("/api/file/{}", file["id"])).by(&token) };
        worker.client.send(&delete).await?;
    }
    Ok(json!({ "per_second": f64::from(done) / taken }))
}

pub async fn idle(options: &Options) -> anyhow::Result<Value> {
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..options.connections {
        match TcpStream::connect(options.address).await {
            Ok(stream) => held.push(stream),
            Err(_) => refused += 1,
        }
    }
    tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await;
    Ok(json!({ "held": held.len(), "refused": refused }))
}

pub async fn first_answer(options: &Options, command: &[String]) -> anyhow::Result<Value> {
    let (program, arguments) = command.split_first().context("a command")?;
    let start = Instant::now();
    let mut server =
        Command::new(program).args(arguments).stdout(Stdio::null()).kill_on_drop(true).spawn()?;
    while !is_ready(options).await {
        if start.elapsed() > Duration::from_secs(30) || server.try_wait()?.is_some() {
            bail!("the server gave no answer");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let taken = start.elapsed();
    server.kill().await?;
    Ok(json!({ "ms": millis(u64::try_from(taken.as_micros())?) }))
}

async fn is_ready(options: &Options) -> bool {
    let answer = Client::new(options.address).send(&Ask::get("/health/ready")).await;
    answer.is_ok_and(|answer| answer.status == 200)
}
