//! The load generator: N connections that each sign in as somebody, act, and act again; one line of JSON at the end.
//!
//! `load run SCENARIO`, and the measurements that are no load: `sign-in`, `first-answer`, `idle`, `uploads`, `walk`.

mod client;
mod other;
mod report;
mod run;
mod scenario;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

use scenario::Scenario;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put one kind of load on the server.
    Run {
        scenario: Scenario,
        #[command(flatten)]
        options: Options,
    },
    /// A storm of sign-ins (`--connections`, `--rate`) beside 200 calm `me` a second.
    Mixed {
        #[command(flatten)]
        options: Options,
    },
    /// Print an access token of `--sign-in-as`.
    SignIn {
        #[command(flatten)]
        options: Options,
    },
    /// Page by cursor through the list of users; compare the first page with the last one reached.
    Walk {
        #[arg(long, default_value_t = 10_000)]
        pages: u32,
        #[command(flatten)]
        options: Options,
    },
    /// Upload files of so many bytes one after the other, and delete each; only the uploads count.
    Uploads {
        #[arg(long)]
        bytes: usize,
        #[command(flatten)]
        options: Options,
    },
    /// Hold `--connections` connections without a word for `--seconds`.
    Idle {
        #[command(flatten)]
        options: Options,
    },
    /// Start a server and measure the milliseconds until `GET /health/ready` answers 200; then end it.
    FirstAnswer {
        #[command(flatten)]
        options: Options,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// What every command needs some of.
#[derive(Args, Clone)]
struct Options {
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:8000")]
    address: SocketAddr,
    #[arg(long, default_value_t = 8)]
    connections: u32,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds at the start that don't count.
    #[arg(long, default_value_t = 0.0)]
    warm_up: f64,
    /// Acts a second over all connections, begun on time whatever the answers do; without it: as fast as they come.
    #[arg(long)]
    rate: Option<f64>,
    /// How many made-up users there are.
    #[arg(long, default_value_t = 1000)]
    users: u64,
    /// Whoever signs in, signs in as this one; without it each connection is a user of its own.
    #[arg(long)]
    sign_in_as: Option<String>,
    /// The password of all of them.
    #[arg(long, default_value = "")]
    password: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let line = match Line::parse().command {
        Command::Run { scenario, options } => run::one(scenario, &options).await?.into_json(),
        Command::Mixed { options } => {
            let (storm, beside) = run::mixed(&options).await?;
            println!("{}", storm.into_json());
            beside.into_json()
        }
        Command::SignIn { options } => return other::sign_in(&options).await,
        Command::Walk { pages, options } => other::walk(&options, pages).await?,
        Command::Uploads { bytes, options } => other::uploads(&options, bytes).await?,
        Command::Idle { options } => other::idle(&options).await?,
        Command::FirstAnswer { options, command } => other::first_answer(&options, &command).await?,
    };
    println!("{line}");
    Ok(())
}
