//! The program: started as people start it, with settings and a data folder of its own.

use std::fs::{self, File};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use sea_orm::DatabaseConnection;
use serde_json::Value;
use tempfile::TempDir;

use crate::chance::variable;
use crate::client::Client;
use crate::database::{self, PostgresDatabase};
use crate::port::Port;
use crate::waiting::{SOON, until};

/// A password that is good enough.
pub const PASSWORD: &str = "gravel-otter-42-lantern";

/// One installation: a folder, a database, settings. Servers are started on it and commands run.
pub struct Site {
    folder: TempDir,
    postgres: Option<PostgresDatabase>,
    settings: Vec<(String, String)>,
    /// Where commands would listen: the port by default may be somebody's.
    port: Port,
}

impl Site {
    /// An empty one, on the kind of database that the tests run on.
    pub fn new() -> Self {
        Self::on(PostgresDatabase::new())
    }

    /// An empty one on this PostgreSQL database, else on SQLite.
    pub fn on(postgres: Option<PostgresDatabase>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        let address = postgres.as_ref().map(PostgresDatabase::url);
        Self { folder, postgres, settings: Vec::new(), port: Port::free() }
            .with("DATABASE_URI", &address.unwrap_or_default()) // empty is unset
            // The same at every start, though the port is not: tokens name their issuer.
            .with("BASE_URL", "http://localhost:8000")
            .with("LOG_FORMAT", "json")
            .with("THROTTLE_REGISTER", "1000000/1h")
            .with("THROTTLE_LOGIN", "1000000/1h")
    }

    /// The same with a setting, in the place of an earlier one of that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(present, _)| present != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder that the program is started in; nothing else is in there but what the program leaves.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `DATA_DIR`.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The database's name, as `migrate fresh` wants to hear it.
    pub fn database_name(&self) -> &str {
        self.postgres.as_ref().map_or("gatehouse.db", PostgresDatabase::name)
    }

    /// A connection to its database, which must exist.
    pub async fn database(&self) -> DatabaseConnection {
        let file = || format!("sqlite://{}?mode=rw", self.data().join("gatehouse.db").display());
        let address = self.postgres.as_ref().map_or_else(file, PostgresDatabase::url);
        database::connect(&address).await
    }

    /// A command of the program with the site's settings and nothing else of this process's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = variable("FAULT_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_gatehouse").to_owned());
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder()).env_clear().stdin(Stdio::null());
        command.env("DATA_DIR", self.data()).env("TMPDIR", self.folder().join("tmp"));
        command.env("PORT", self.port.number().to_string());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        // Where a measured build keeps its counts.
        command.envs(variable::<String>("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)));
        command
    }

    /// The same command, run by another program that becomes it.
    pub fn through(command: &Command, program: &str, arguments: &[&str]) -> Command {
        let mut through = Command::new(program);
        through.args(arguments).arg(command.get_program()).args(command.get_args());
        through.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
        through.env_clear().env("PATH", "/usr/bin:/bin");
        through.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        through
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(self.command(arguments))
    }

    /// Runs a command that must end within this time, by itself. A busy machine may stand still for longer, but not
    /// each of five times.
    pub fn run_within(&self, most: Duration, arguments: &[&str]) -> Finished {
        let mut tries = (0..5).map(|_| self.run(arguments));
        tries
            .find(|finished| finished.took < most)
            .unwrap_or_else(|| panic!("{arguments:?}: not within {most:?}"))
    }

    /// Runs a command that must succeed; what it printed.
    pub fn must(&self, arguments: &[&str]) -> String {
        let finished = self.run(arguments);
        assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.all());
        finished.out
    }

    /// Starts a server and waits until it is ready.
    pub async fn start(&self) -> Server<'_> {
        let mut server = self.launch();
        server.ready().await;
        server
    }

    /// Starts a server without waiting for it.
    pub fn launch(&self) -> Server<'_> {
        self.launch_as(self.command(&[]))
    }

    /// Starts a server by a command made from [`Site::command`].
    pub fn launch_as(&self, command: Command) -> Server<'_> {
        self.launch_on(Some(Port::free()), command)
    }

    /// Starts a server on a port that the system chooses, and waits until it has said which.
    pub async fn start_anywhere(&self) -> Server<'_> {
        let mut server = self.launch_on(None, self.command(&[]));
        server.port = until("it says where it listens", SOON, async || {
            let output = server.output();
            let (_, behind) = output.split_once(" on 127.0.0.1:").ok_or("nothing")?;
            behind.split_once('\n').and_then(|(port, _)| port.parse().ok()).ok_or("half a line")
        })
        .await;
        server
    }

    /// Without a port, the system chooses one.
    fn launch_on(&self, held: Option<Port>, mut command: Command) -> Server<'_> {
        let port = held.as_ref().map_or(0, Port::number);
        let log = self.folder().join(format!("{port}.log"));
        let (out, err) = (File::create(&log).unwrap(), File::options().append(true).open(&log).unwrap());
        let child = command.env("PORT", port.to_string()).stdout(out).stderr(err).spawn().unwrap();
        Server { site: PhantomData, log, child, port, _held: held, began: Instant::now() }
    }
}

/// A server that was started; the site is there for as long as it is.
pub struct Server<'s> {
    site: PhantomData<&'s Site>,
    log: PathBuf,
    child: Child,
    port: u16,
    /// Keeps the port for it, also before it listens; none where the system has chosen.
    _held: Option<Port>,
    began: Instant,
}

impl Server<'_> {
    /// Waits until it can do its work; how long that took since the start.
    pub async fn ready(&mut self) -> Duration {
        let client = self.client();
        until("ready", SOON, async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.output());
            }
            let (status, body) = client.readiness().await.map_err(|error| error.to_string())?;
            if status == 200 { Ok(()) } else { Err(body.to_string()) }
        })
        .await;
        self.began.elapsed()
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// How many files and connections it has open.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process())).unwrap().count()
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.process())).unwrap().count()
    }

    /// How many bytes of memory it holds (proc(5): `VmRSS`).
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it at once, as a power cut of the process.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has; it must have ended well.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended(SOON).await;
        assert!(status.success(), "{status}:\n{}", self.output());
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        until("the end", within, async || self.child.try_wait().unwrap().ok_or("still running")).await
    }

    /// All that it has printed and logged.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            println!(
                "--- the end of the server's log\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

/// A command that has ended.
pub struct Finished {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// How long it took.
    pub took: Duration,
}

impl Finished {
    /// Runs it.
    pub fn of(command: Command) -> Self {
        Self::given(command, "")
    }

    /// Runs it with `text` on its standard input.
    pub fn given(mut command: Command, text: &str) -> Self {
        let began = Instant::now();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // A command that does not read its input may be gone already.
        if let Err(error) = std::io::Write::write_all(&mut input, text.as_bytes()) {
            println!("nobody reads: {error}");
        }
        drop(input);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        Self { code: output.status.code(), out, err, took: began.elapsed() }
    }

    /// Both outputs.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("JSON")
    }
}
