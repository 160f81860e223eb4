//! The order of writing, syncing and answering, as the system sees it (strace). Each change carries a word of its own, which
//! is found in what is written to SQLite's log, and again in the answer.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::chance::unique;
use crate::gatehouse::{Finished, PASSWORD, Server, Site};
use crate::waiting::{SOON, until_true};

/// Clients that write at the same time, so that commits are shared.
const CLIENTS: usize = 8;
/// Sign-ups of each, and as many changes of each who has signed up.
const EACH: usize = 4;
/// The header of a frame of the log, which is written by itself (SQLite, "WAL-Index and WAL File Format").
const FRAME: usize = 24;

#[tokio::test]
async fn every_answer_is_sent_after_the_sync_that_followed_the_last_write_of_its_commit() {
    let (site, tools) = (Site::on(None), tempfile::tempdir().unwrap());
    let file = tools.path().join("trace");
    let server = start_traced(&site, &file).await;
    let process = format!("{} ", server.process());
    let clients = (0..CLIENTS).map(|_| change(server.port()));
    let words: Vec<String> = join_all(clients).await.concat();
    server.stop().await;
    // The one who traces ends after the one who is traced.
    let is_end = |line: &str| line.starts_with(&process) && line.ends_with("+++ exited with 0 +++");
    let read = || String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
    until_true("the trace ends", SOON, async || read().lines().any(is_end)).await;
    let text = read();
    let trace = Trace::of(text.lines());
    let mut commits: Vec<usize> = words.iter().map(|word| trace.follow(word).unwrap()).collect();
    commits.sort_unstable();
    commits.dedup();
    println!("{} changes in {} commits", words.len(), commits.len());
    // A program that answers without a sync, or before it, would be found out.
    let unsynced = Trace::of(text.lines().filter(|line| !line.contains("sync")));
    assert!(words.iter().all(|word| unsynced.follow(word).is_err()));
    let early = text.lines().filter(|line| line.contains("HTTP/1.1 2"));
    let early = Trace::of(early.chain(text.lines().filter(|line| !line.contains("HTTP/1.1 2"))));
    assert!(words.iter().all(|word| early.follow(word).is_err()));
}

/// A server whose calls are written down. It is the child of the test, and not of strace (`-D`).
async fn start_traced<'s>(site: &'s Site, file: &Path) -> Server<'s> {
    let calls = "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg";
    let file = file.to_str().unwrap();
    let arguments = ["-D", "-f", "-y", "-s", "8192", "-e", "signal=none", "-e", calls, "-o", file];
    let probe = Finished::of(Site::through(&site.command(&["--version"]), "strace", &arguments));
    assert_eq!(
        probe.code,
        Some(0),
        "this test needs strace (Debian: strace) and the right to trace a process of one's own \
         (ptrace; in a container --cap-add SYS_PTRACE or a seccomp profile that allows it): {}",
        probe.all()
    );
    let mut server = site.launch_as(Site::through(&site.command(&[]), "strace", &arguments));
    server.ready().await;
    server
}

/// Signs people up and changes their descriptions; the words of these changes.
async fn change(port: u16) -> Vec<String> {
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    let ask = async |method: Method, path: &str, token: &str, word: &str, body: Value| {
        let request = http.request(method, format!("http://127.0.0.1:{port}/api{path}")).json(&body);
        let request = request.bearer_auth(token).header("x-request-id", word);
        let asked = Instant::now();
        loop {
            let answer = request.try_clone().unwrap().send().await.unwrap();
            // A busy machine puts off what it can't hash within a second.
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE && asked.elapsed() < SOON {
                let seconds = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                continue;
            }
            assert!(answer.status().is_success(), "{answer:?}");
            return answer.json::<Value>().await.unwrap();
        }
    };
    let mut words = Vec::new();
    for _ in 0..EACH {
        let (name, description) = (format!("n{}", unique()), format!("d{}", unique()));
        let email = format!("{name}@example.com");
        let new =
            json!({ "username": name, "email": email, "password": PASSWORD, "confirm_password": PASSWORD });
        let signed_up = ask(Method::POST, "/auth/register", "", &name, new).await;
        let token = signed_up["access_token"].as_str().unwrap();
        let described = json!({ "description": description });
        ask(Method::PATCH, &format!("/user/@{name}"), token, &description, described).await;
        words.extend([name, description]);
    }
    words
}

/// What was seen, in its order: a place is a number of a line.
#[derive(Default)]
struct Trace<'t> {
    /// Writes to the log: place, thread, what was written.
    writes: Vec<(usize, &'t str, &'t str)>,
    /// Syncs of the log by thread: when they began and ended.
    syncs: HashMap<&'t str, Vec<(usize, usize)>>,
    /// Answers 2xx: place and text.
    answers: Vec<(usize, &'t str)>,
}

impl<'t> Trace<'t> {
    fn of(lines: impl Iterator<Item = &'t str>) -> Self {
        let mut trace = Self::default();
        let mut begun = HashMap::new();
        for (at, line) in lines.enumerate() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            let is_of_the_log = call.contains(".db-wal>");
            let is_sync = call.starts_with("fsync(") || call.starts_with("fdatasync(");
            if is_sync && is_of_the_log {
                begun.insert(thread, at);
            }
            if call.contains("sync") && call.ends_with(" = 0") {
                let sync = begun.remove(thread).map(|start| (start, at));
                trace.syncs.entry(thread).or_default().extend(sync);
            } else if call.starts_with("pwrite64(") && is_of_the_log {
                let bytes = call.split_once('"').and_then(|(_, behind)| Some(behind.rsplit_once('"')?.0));
                trace.writes.push((at, thread, bytes.unwrap_or_default()));
            } else if call.contains("\"HTTP/1.1 2") {
                trace.answers.push((at, call));
            }
        }
        trace
    }

    /// Follows the change of this word from its commit to its answer; where its commit ended.
    fn follow(&self, word: &str) -> Result<usize, String> {
        let is_of_the_change = |(_, _, bytes): &&(usize, &str, &str)| bytes.contains(word);
        let (wrote, thread, _) =
            self.writes.iter().find(is_of_the_change).ok_or(format!("{word}: not written"))?;
        let (answered, _) = self
            .answers
            .iter()
            .find(|(_, text)| text.contains(word))
            .ok_or(format!("{word}: not answered"))?;
        let mut syncs = self.syncs.get(thread).into_iter().flatten();
        let (began, ended) = syncs.find(|(began, _)| began > wrote).ok_or(format!("{word}: never synced"))?;
        let is_before = |(at, writer, bytes): &&(usize, &str, &str)| {
            writer == thread && at < began && unescaped(bytes).len() == FRAME
        };
        let last = self.writes.iter().rfind(is_before).map(|(_, _, bytes)| unescaped(bytes));
        // How large the database is then: only the last frame of a commit says so.
        if last.is_none_or(|frame| frame[4..8] == [0; 4]) {
            return Err(format!("{word}: the sync at {began} was not the end of a commit"));
        }
        if ended > answered {
            return Err(format!("{word}: answered at {answered}, but synced until {ended}"));
        }
        Ok(*ended)
    }
}

/// The bytes that strace shows as C does.
fn unescaped(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind.iter().take(3).take_while(|digit| (b'0'..=b'7').contains(digit)).count();
        let (byte, size) = match (first, behind.first()) {
            (b'\\', Some(_)) if octal > 0 => (
                behind[..octal].iter().fold(0_u8, |byte, digit| byte.wrapping_mul(8) + (digit - b'0')),
                octal,
            ),
            (b'\\', Some(letter)) => (letter_of(*letter), 1),
            _ => (*first, 0),
        };
        bytes.push(byte);
        rest = &behind[size..];
    }
    bytes
}

fn letter_of(letter: u8) -> u8 {
    match letter {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'v' => 0x0b,
        b'f' => 0x0c,
        other => other,
    }
}
