//! A Redis of a test's own, to be frozen, stopped and started again.

#![allow(dead_code, reason = "each of the test binaries needs some of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::port::Port;

/// How long a server may take to start.
const SOON: Duration = Duration::from_mins(1);

/// A server on a free port of loopback that keeps nothing; gone when dropped.
pub struct Redis {
    folder: TempDir,
    port: Port,
    options: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Starts one with these options (`--maxmemory`, `1mb`).
    pub fn start(options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let (folder, port) = (tempfile::tempdir().unwrap(), Port::free());
        let mut redis = Self { folder, port, options, child: None };
        redis.resume();
        redis
    }

    /// For `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port.number())
    }

    /// Starts it again, empty.
    pub fn resume(&mut self) {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &self.port.number().to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.args(["--daemonize", "no", "--dir"]).arg(self.folder.path()).args(&self.options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server (Debian: redis-server) can be started"));
        let begun = Instant::now();
        // With a password it answers that it wants one; that is an answer, too.
        while self.ask(&["PING"]).is_none() {
            assert!(begun.elapsed() < SOON, "Redis does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it: connections are reset, and what it knew is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Lets it stand still: connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("it runs")), signal).unwrap();
    }

    /// The first line of the answer to a command.
    pub fn command(&self, words: &[&str]) -> String {
        self.ask(words).expect("an answer of Redis")
    }

    /// The name of a key of this pattern.
    pub fn key(&self, pattern: &str) -> String {
        let name = format!("return redis.status_reply(redis.call('KEYS', '{pattern}')[1])");
        self.command(&["EVAL", &name, "0"]).trim_start_matches('+').to_owned()
    }

    fn ask(&self, words: &[&str]) -> Option<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port.number())).ok()?;
        socket.set_read_timeout(Some(SOON)).ok()?;
        let mut parts = vec![format!("*{}\r\n", words.len())];
        parts.extend(words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())));
        let request = parts.concat();
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        BufReader::new(socket.take(4096)).read_line(&mut answer).ok()?;
        let answer = answer.trim_end().to_owned();
        (!answer.is_empty() && !answer.starts_with("-LOADING")).then_some(answer)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
