//! More connections than there are files to open.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::gatehouse::{Server, Site};
use crate::waiting::{SOON, until};

const FILES: usize = 256;
const CONNECTIONS: usize = 600;

#[tokio::test]
async fn running_out_of_files_costs_no_work_and_passes() {
    let site = Site::new();
    let program = site.command(&[]);
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={FILES}")).arg("--").arg(program.get_program());
    limited.current_dir(site.folder()).env_clear().env("PATH", "/usr/bin:/bin");
    limited.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut server = site.launch_as(limited);
    server.ready().await;
    let client = server.client();
    let token = client.sign_up("ann").await.unwrap().text("access_token");

    let mut crowd = Vec::new();
    for _ in 0..CONNECTIONS {
        crowd.push(TcpStream::connect(("127.0.0.1", server.port())).await.unwrap());
    }
    assert!(files_of(&server) <= FILES);
    let before = work_of(&server);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = work_of(&server).saturating_sub(before);
    assert!(spent < Duration::from_millis(250), "{spent:?} of work in a second without any");
    // Whoever was there before the crowd is served, also with what needs files and the database.
    assert_eq!(client.describe("ann", &token, "served").await.unwrap().status, 200);
    assert!(files_of(&server) <= FILES);

    drop(crowd);
    until("somebody new is served", SOON, async || match server.client().me(&token).await {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    server.stop().await;
}

fn files_of(server: &Server<'_>) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.process())).unwrap().count()
}

/// The processor time that it has used (proc(5): the 14th and 15th field of `stat`, in hundredths of a second).
fn work_of(server: &Server<'_>) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.process())).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
