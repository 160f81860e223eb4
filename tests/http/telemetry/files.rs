//! The program itself writes its log to files, and starts again where it stopped.

use std::fs;

use serde_json::Value;

use crate::canary::Running;
use crate::harness::eventually;

#[tokio::test]
async fn the_log_is_in_a_file_as_well_with_the_trace_of_each_request() {
    let settings = [("LOG_FILE_ENABLED", "True"), ("LOG_FILE_LEVEL", "INFO"), ("LOG_LEVEL", "WARNING")];
    let settings: Vec<(String, String)> =
        settings.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let running = Running::start(&settings).await;
    running.client().get("/version").header("x-request-id", "followed").await.is(200);
    running.client().get("/api/user/me?otp_code=canary-code").await.is(401);
    let path = running.data().join("logs/gatehouse.log");
    let read = || async { fs::read_to_string(&path).unwrap_or_default() };
    // Whoever reads while the program writes may see half a line.
    let is_whole = |text: &String| text.ends_with('\n');
    let told = |text: &String| text.contains("followed") && text.contains("\"status\":401");
    let text = eventually(read, |text| is_whole(text) && told(text)).await;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let followed = lines.iter().filter(|line| line["trace_id"] == "followed").count();
    assert_eq!(followed, 1, "{text}");
    assert!(!text.contains("canary-code"));
    // The other output keeps its own measure.
    assert!(!running.stop().contains("followed"));
}
