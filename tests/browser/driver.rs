//! `WebDriver` (W3C), as much of it as the tests need: JSON over HTTP to a `chromedriver` of our own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What elements are called in `WebDriver`'s JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Whatever takes longer has hung.
const PATIENCE: Duration = Duration::from_mins(3);

/// How often a `chromedriver` is started before that is given up.
const LAUNCHES: usize = 5;

/// A browser that is driven: a `chromedriver`, and the Chromium that ends with it.
pub struct Driver {
    http: reqwest::Client,
    session: String,
    process: Child,
    /// Held open: who writes to a closed pipe ends.
    _said: BufReader<ChildStdout>,
    /// What the browser keeps: cookies and the like. Gone with it.
    profile: TempDir,
}

/// Why a command was refused: `WebDriver`'s name for it, such as `no such element`, and what the driver says of it.
#[derive(Debug, thiserror::Error)]
#[error("{error}: {message}")]
pub struct Refused {
    error: String,
    message: String,
}

/// Something on a page.
#[derive(Clone, Debug)]
pub struct Element(String);

impl Driver {
    /// A browser with an empty profile.
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let (process, said, port) = launch();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let session = format!("http://127.0.0.1:{port}/session");
        let mut driver = Self { http, session, process, _said: said, profile };
        let opened = driver.ask(Method::POST, "", &driver.capabilities()).await;
        let opened = opened.expect("Chromium starts (Debian: apt-get install chromium)");
        let id = opened["sessionId"].as_str().expect("an id of the session");
        driver.session = format!("{}/{id}", driver.session);
        driver
    }

    fn capabilities(&self) -> Value {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let mut arguments = vec![
            "--headless",
            "--lang=en-GB",
            "--window-size=1280,900",
            "--force-prefers-reduced-motion",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            // Chromium ends when the pipe does, so none is left behind, whatever ends the test.
            "--remote-debugging-pipe",
            &profile,
        ];
        if rustix::process::geteuid().is_root() {
            // Chromium refuses to start as root with its sandbox. What it opens here is our own server alone.
            arguments.push("--no-sandbox");
        }
        json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            // In milliseconds; half a minute by default, which a busy machine may need to look at a page.
            "timeouts": {"script": 120_000},
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}})
    }

    /// A command with a body.
    pub async fn post(&self, command: &str, body: Value) -> Result<Value, Refused> {
        self.ask(Method::POST, command, &body).await
    }

    /// What chromedriver hands on to Chromium's own protocol.
    pub async fn chromium(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.post("/goog/cdp/execute", body).await.unwrap_or_else(|refused| panic!("{command}: {refused}"))
    }

    /// What a script returns, the body of a function with these arguments.
    pub async fn run(&self, script: &str, arguments: Value) -> Result<Value, Refused> {
        self.post("/execute/sync", json!({"script": script, "args": arguments})).await
    }

    /// What a script hands to the function that is its last argument.
    pub async fn run_async(&self, script: &str, arguments: Value) -> Result<Value, Refused> {
        self.post("/execute/async", json!({"script": script, "args": arguments})).await
    }

    /// The element that a script finds, if it finds one.
    pub async fn find(&self, script: &str, arguments: Value) -> Result<Option<Element>, Refused> {
        let found = self.run(script, arguments).await?;
        Ok(found[ELEMENT].as_str().map(|id| Element(id.to_owned())))
    }

    /// Clicks as a person does: what is covered or out of reach refuses.
    pub async fn click(&self, element: &Element) -> Result<(), Refused> {
        self.post(&format!("/element/{}/click", element.0), json!({})).await.map(drop)
    }

    /// Types into an element.
    pub async fn type_into(&self, element: &Element, text: &str) -> Result<(), Refused> {
        self.post(&format!("/element/{}/value", element.0), json!({"text": text})).await.map(drop)
    }

    /// Empties a field.
    pub async fn clear(&self, element: &Element) -> Result<(), Refused> {
        self.post(&format!("/element/{}/clear", element.0), json!({})).await.map(drop)
    }

    async fn ask(&self, method: Method, command: &str, body: &Value) -> Result<Value, Refused> {
        let mut request = self.http.request(method, format!("{}{command}", self.session));
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{command}: {error:?}"));
        let good = answer.status().is_success();
        let mut answer: Value = answer.json().await.expect("JSON");
        let value = answer["value"].take();
        if good {
            return Ok(value);
        }
        let text = |member: &str| value[member].as_str().unwrap_or_default().to_owned();
        Err(Refused { error: text("error"), message: text("message") })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A process that has ended by itself can't be killed, which is as good.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A `chromedriver`, what it prints, and the port that it listens on.
///
/// It takes any free port of IPv4, then the same one of IPv6, and ends where somebody else has that: so it is tried anew.
fn launch() -> (Child, BufReader<ChildStdout>, u16) {
    let mut heard = String::new();
    for _ in 0..LAUNCHES {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver can be started (Debian: apt-get install chromium chromium-driver)");
        let mut said = BufReader::new(process.stdout.take().expect("its output"));
        for line in said.by_ref().lines() {
            let line = line.expect("its output is text");
            if let Some(port) = port_of(&line) {
                return (process, said, port);
            }
            heard += &line;
            heard.push('\n');
        }
        let status = process.wait().expect("it ended");
        heard += &status.to_string();
        heard.push('\n');
    }
    panic!("chromedriver does not start:\n{heard}");
}

/// `… was started successfully on port 12345.`
fn port_of(line: &str) -> Option<u16> {
    line.strip_suffix('.')?.rsplit_once("successfully on port ")?.1.parse().ok()
}
