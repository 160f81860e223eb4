//! A PostgreSQL server of a test's own, to be stopped and killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use url::Url;

use crate::chance::unique;
use crate::database::postgres_server;
use crate::port::Port;
use crate::waiting::{SOON, until};

/// A server in a folder of its own, on a free port of loopback; gone when dropped.
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    port: Port,
    url: Url,
}

impl Cluster {
    /// Makes and starts one, if the tests run on PostgreSQL.
    pub async fn start() -> Option<Self> {
        postgres_server()?;
        let (password, port) = (unique(), Port::free());
        let url = format!("postgres://postgres:{password}@127.0.0.1:{}/postgres", port.number());
        let url = Url::parse(&url).unwrap();
        let cluster = Self { folder: tempfile::tempdir().unwrap(), programs: programs(), port, url };
        cluster.initialise(&password);
        cluster.resume().await;
        Some(cluster)
    }

    /// Its address.
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// Stops it without letting anybody finish.
    pub fn stop(&self) {
        self.control(&["-m", "immediate", "stop"]).expect("PostgreSQL stops");
    }

    /// Kills it: every process of it notices and ends.
    pub fn kill(&self) {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let process = file.lines().next().unwrap().parse().unwrap();
        kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
    }

    /// Starts it again, as soon as what is left of a killed one is gone.
    pub async fn resume(&self) {
        let settings = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off",
            self.port.number(),
            self.folder.path().display()
        );
        let log = self.folder.path().join("log").display().to_string();
        until("PostgreSQL starts", SOON, async || self.control(&["-l", &log, "-o", &settings, "start"]))
            .await;
    }

    fn initialise(&self, password: &str) {
        let file = self.folder.path().join("password");
        fs::write(&file, password).unwrap();
        if rustix::process::geteuid().is_root() {
            let mut chown = Command::new("chown");
            assert!(chown.args(["-R", "postgres:"]).arg(self.folder.path()).status().unwrap().success());
        }
        let mut command = self.program("initdb");
        // md5, because the handshake of SCRAM takes an unoptimised client so long that recovery would be its figure.
        command.args(["-U", "postgres", "--auth=md5", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        command.arg("-D").arg(self.data()).arg("--pwfile").arg(file).stdout(Stdio::null());
        assert!(command.status().unwrap().success(), "initdb");
    }

    fn control(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = self.program("pg_ctl");
        // A server holds on to the outputs that it was started with: to wait for their end would be to wait for its.
        let said = self.folder.path().join("pg_ctl");
        let out = fs::File::create(&said).unwrap();
        command.arg("-D").arg(self.data()).arg("-w").args(arguments);
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let succeeded = command.status().unwrap().success();
        if succeeded { Ok(()) } else { Err(fs::read_to_string(said).unwrap_or_default()) }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of PostgreSQL's programs; they refuse to run as root.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(words) = self.control(&["-m", "immediate", "stop"]) {
            println!("PostgreSQL was not running at the end: {words}");
        }
    }
}

/// The folder of the newest PostgreSQL on this machine: Debian's, else wherever `initdb` is.
fn programs() -> PathBuf {
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(|path| number(path));
    let folder = newest.map(|version| version.join("bin")).filter(|folder| folder.join("initdb").exists());
    folder.unwrap_or_default()
}
