//! Feature flags: the gate before every operation, the file, the changes, the instances, OFREP.

mod changes;
mod file;
mod gate;
mod instances;
mod ofrep;
mod shown;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Actor, Client, Reply, TestApp};

const FLAGS: &str = "/api/admin/feature-flags";

/// The file of flags of this instance.
fn file_of(app: &TestApp) -> PathBuf {
    let config = &app.inside.config;
    config.server.data_dir.join(&config.flags.file)
}

/// The file as JSON.
fn read(app: &TestApp) -> Value {
    serde_json::from_slice(&std::fs::read(file_of(app)).expect("a file")).expect("JSON")
}

/// Writes the file as an editor does that knows nothing of us.
fn edit(app: &TestApp, text: impl AsRef<[u8]>) {
    std::fs::write(file_of(app), text).expect("a place to write");
}

/// Gives flags these values.
async fn set(admin: &Actor, flags: Value) -> Reply {
    admin.patch(FLAGS).json(&json!({ "add": flags })).await
}

/// What a client is told of one flag.
async fn told(client: &Client, flag: &str) -> Value {
    client.get("/api/flags").await.is(200).json()[flag].clone()
}

/// The state of the flags in the readiness report.
async fn health(app: &TestApp) -> String {
    let report = app.get("/health/ready").await.is(200).json();
    report["parts"]["flags"].as_str().expect("a part").to_owned()
}
