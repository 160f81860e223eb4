//! What every page must be, however it is looked at; and a picture of each look, for people to judge.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::browser::Browser;

/// axe-core, unchanged: README.md beside it.
const AXE: &str = include_str!("axe/axe.min.js");
/// What a page may weigh with everything that it loads.
const HEAVIEST: u64 = 150_000;

/// How a page is looked at: name, width and height, preferred colours.
const LOOKS: [(&str, u32, u32, &str); 3] =
    [("light", 1280, 900, "light"), ("dark", 1280, 900, "dark"), ("phone", 390, 844, "light")];

/// Looks at the page that is open as people do, leaves a picture of each look at
/// `target/screenshots/<name>-<look>.png`, and fails on whatever is wrong with it.
pub async fn look_at(browser: &Browser, name: &str) {
    let mut wrong = Vec::new();
    for (look, width, height, colours) in LOOKS {
        put_on(browser, width, height, colours).await;
        photograph(browser, &format!("{name}-{look}")).await;
        let faults = [findings(browser).await, too_wide(browser).await].concat();
        wrong.extend(faults.into_iter().map(|fault| format!("{name}, {look}: {fault}")));
    }
    put_on(browser, 1280, 900, "light").await;
    wrong.extend(too_heavy(browser).await);
    wrong.extend(browser.log().await.into_iter().filter(|line| is_trouble(line)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn put_on(browser: &Browser, width: u32, height: u32, colours: &str) {
    let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
    browser.driver.chromium("Emulation.setDeviceMetricsOverride", screen).await;
    let features = json!({"features": [{"name": "prefers-color-scheme", "value": colours}]});
    browser.driver.chromium("Emulation.setEmulatedMedia", features).await;
}

async fn photograph(browser: &Browser, name: &str) {
    let options = json!({"format": "png", "captureBeyondViewport": true});
    let picture = browser.driver.chromium("Page.captureScreenshot", options).await;
    let picture = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("{name}.png")), picture).expect("a file");
}

/// What axe-core finds that is serious or worse.
async fn findings(browser: &Browser) -> Vec<String> {
    const CHECK: &str = "const done = arguments[arguments.length - 1];
        axe.run(document, { resultTypes: ['violations'] }).then(
            found => done(found.violations.map(({ id, impact, nodes }) => ({
                id, impact, nodes: nodes.map(node => [node.target.join(' '), node.failureSummary]) }))),
            error => done([{ id: String(error), impact: 'critical', nodes: [] }]))";
    let there = browser.run("return Boolean(window.axe)", json!([])).await;
    if there != true {
        browser.run(AXE, json!([])).await;
    }
    let found = browser.driver.run_async(CHECK, json!([])).await.expect("an answer of axe");
    let is_serious = |finding: &&Value| finding["impact"] == "serious" || finding["impact"] == "critical";
    found
        .as_array()
        .expect("findings")
        .iter()
        .filter(is_serious)
        .map(|finding| format!("{finding:#}"))
        .collect()
}

/// An error, but for answers of the API and pages that refuse something: those are meant.
fn is_trouble(line: &str) -> bool {
    let is_refusal = line.contains("Failed to load resource") && !line.contains("/assets/");
    line.starts_with("\"SEVERE") && !is_refusal
}

/// Nobody scrolls sideways.
async fn too_wide(browser: &Browser) -> Vec<String> {
    const WIDER: &str = "const wide = document.documentElement.scrollWidth - innerWidth;
        return wide <= 0 ? [] : [`${wide} pixels too wide: ` + [...document.querySelectorAll('body *')]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5)
            .map(e => e.tagName + '.' + e.className).join(', ')]";
    serde_json::from_value(browser.run(WIDER, json!([])).await).expect("texts")
}

/// The page with all that came with it, as it would come to somebody who was never here.
async fn too_heavy(browser: &Browser) -> Vec<String> {
    const WEIGHT: &str = "return performance.getEntriesByType('navigation')
        .concat(performance.getEntriesByType('resource').filter(e => e.initiatorType !== 'fetch'))
        .reduce((sum, e) => sum + e.encodedBodySize, 0)";
    let weight = browser.run(WEIGHT, json!([])).await.as_f64().expect("a number");
    #[expect(clippy::cast_precision_loss, reason = "far from where it would matter")]
    let heavy = weight > HEAVIEST as f64;
    if heavy { vec![format!("{weight} bytes are more than {HEAVIEST}")] } else { Vec::new() }
}
