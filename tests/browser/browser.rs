//! A browser as a person uses it: things are found by what they are called, and waited for.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::driver::{Driver, Element, Refused};
use crate::harness::{PASSWORD, TestApp};

/// How long something may take to appear on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(25);

/// A browser of its own: own cookies, nobody signed in.
pub struct Browser {
    pub(crate) driver: Driver,
    base: String,
}

impl Browser {
    /// A browser that shows nothing yet of the program.
    pub async fn open(app: &TestApp) -> Self {
        Self { driver: Driver::start().await, base: app.base().to_owned() }
    }

    /// A browser in which this person has signed in on the page, with [`PASSWORD`].
    pub async fn of(app: &TestApp, name: &str) -> Self {
        let browser = Self::open(app).await;
        browser.sign_in(name).await;
        browser
    }

    /// Signs in on the page.
    pub async fn sign_in(&self, name: &str) {
        const IS_IN: &str = "return document.readyState === 'complete'
            && document.querySelector('form[action=\"/signin\"]') === null";
        self.go("/signin").await;
        self.fill("User name or e-mail address", name).await;
        self.fill("Password", PASSWORD).await;
        self.press("Sign in").await;
        self.until("the session", IS_IN, json!([])).await;
    }

    /// Opens a page of the program, or of somewhere else.
    pub async fn go(&self, path: &str) {
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        self.driver.post("/url", json!({"url": url})).await.expect("a page");
    }

    /// The browser's own button.
    pub async fn back(&self) {
        self.driver.post("/back", json!({})).await.expect("a page before");
    }

    /// Loads the page anew.
    pub async fn reload(&self) {
        self.driver.post("/refresh", json!({})).await.expect("the page");
    }

    /// Where it is: path and query.
    pub async fn place(&self) -> String {
        let place = self.run("return location.pathname + location.search", json!([])).await;
        place.as_str().expect("a text").to_owned()
    }

    /// Waits until it is at this path, whatever the query.
    pub async fn until_at(&self, path: &str) {
        self.until(path, "return location.pathname === arguments[0]", json!([path])).await;
    }

    /// Waits until it is at this path with this query.
    pub async fn until_place(&self, place: &str) {
        self.until(place, "return location.pathname + location.search === arguments[0]", json!([place]))
            .await;
    }

    /// Writes into the field of this label, in place of what is there.
    pub async fn fill(&self, label: &str, text: &str) {
        self.with("field", label, async |element| {
            self.driver.clear(&element).await?;
            self.driver.type_into(&element, text).await
        })
        .await;
    }

    /// Types at the end of what the field of this label holds; keys as in `WebDriver`'s table, such as `\u{e007}`.
    pub async fn type_into(&self, label: &str, text: &str) {
        self.with("field", label, async |element| self.driver.type_into(&element, text).await).await;
    }

    /// Chooses in a list by what is shown there.
    pub async fn choose(&self, label: &str, option: &str) {
        const CHOOSE: &str = "const list = [...document.querySelectorAll('select')]
                .find(list => list.labels[0]?.innerText.trim().startsWith(arguments[0]));
            const option = [...(list?.options ?? [])].find(option => option.text === arguments[1]);
            if (!option) return false;
            option.selected = true;
            for (const kind of ['input', 'change']) list.dispatchEvent(new Event(kind, { bubbles: true }));
            return true";
        self.until(option, CHOOSE, json!([label, option])).await;
    }

    /// Clicks on the button, link, switch or other thing of this name.
    pub async fn press(&self, name: &str) {
        self.with("control", name, async |element| self.driver.click(&element).await).await;
    }

    /// Clicks on the first thing that the selector names.
    pub async fn press_at(&self, selector: &str) {
        self.with("selector", selector, async |element| self.driver.click(&element).await).await;
    }

    /// Gives a file to the field that the selector names.
    pub async fn give_file(&self, selector: &str, file: &Path) {
        let file = file.to_str().expect("a plain path");
        self.with("selector", selector, async |element| self.driver.type_into(&element, file).await).await;
    }

    /// Waits until the page shows this text somewhere.
    pub async fn until_shown(&self, text: &str) {
        self.until(text, "return document.body.innerText.includes(arguments[0])", json!([text])).await;
    }

    /// Waits until the page shows this text nowhere.
    pub async fn until_gone(&self, text: &str) {
        self.until(text, "return !document.body.innerText.includes(arguments[0])", json!([text])).await;
    }

    /// Whether the page shows this text somewhere now.
    pub async fn shows(&self, text: &str) -> bool {
        self.run("return document.body.innerText.includes(arguments[0])", json!([text])).await == json!(true)
    }

    /// Whether there is a button, link or switch of this name now.
    pub async fn has(&self, name: &str) -> bool {
        let found = self.driver.find(FIND, json!(["control", name])).await;
        found.expect("an answer of the page").is_some()
    }

    /// The text of all that the selector names, as it is shown.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        const TEXTS: &str =
            "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())";
        let texts = self.run(TEXTS, json!([selector])).await;
        serde_json::from_value(texts).expect("texts")
    }

    /// What a script returns; `arguments` are its arguments.
    pub async fn run(&self, script: &str, arguments: Value) -> Value {
        self.driver.run(script, arguments).await.unwrap_or_else(|refused| panic!("{script}: {refused}"))
    }

    /// Waits until a script returns true.
    pub async fn until(&self, what: &str, script: &str, arguments: Value) {
        let begun = Instant::now();
        loop {
            // A page that is just going refuses.
            if self.driver.run(script, arguments.clone()).await.is_ok_and(|answer| answer == true) {
                return;
            }
            assert!(begun.elapsed() <= PATIENCE, "in vain: {what}\n{}", self.seen().await);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Does something with a thing on the page as soon as it is there and lets it be done.
    async fn with<F>(&self, kind: &str, name: &str, act: F)
    where
        F: AsyncFn(Element) -> Result<(), Refused>,
    {
        let begun = Instant::now();
        loop {
            let done = match self.driver.find(FIND, json!([kind, name])).await {
                Ok(Some(element)) => act(element).await.map_err(|refused| refused.to_string()),
                Ok(None) => Err("it is not there".to_owned()),
                Err(refused) => Err(refused.to_string()),
            };
            let Err(reason) = done else { return };
            assert!(begun.elapsed() <= PATIENCE, "{kind} {name:?}: {reason}\n{}", self.seen().await);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What the page is, for whoever reads of a failure.
    async fn seen(&self) -> String {
        let text = self.driver.run("return location.href + '\\n' + document.body.innerText", json!([])).await;
        let log = self.log().await;
        format!(
            "{}\n{log:#?}",
            text.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
        )
    }

    /// What the browser has written down since it was last asked: errors of scripts, and what the policy refused.
    pub async fn log(&self) -> Vec<String> {
        let entries = self.driver.post("/se/log", json!({"type": "browser"})).await.expect("a log");
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| format!("{} {}", entry["level"], entry["message"])).collect()
    }
}

/// Finds what is shown, by the name that a screen reader would say: (`field` | `control` | `selector`, name).
const FIND: &str = r#"
const [kind, name] = arguments;
const shown = e => e.checkVisibility({ visibilityProperty: true });
const inside = document.querySelector("dialog[open]") ?? document;
if (kind === "selector") return [...inside.querySelectorAll(name)].find(shown) ?? null;
const text = e => (e?.innerText ?? "").replace(/\s+/g, " ").trim();
const named = e => e.getAttribute("aria-label")
  ?? ((e.getAttribute("aria-labelledby") ?? "").split(" ").map(id => text(document.getElementById(id))).join(" ").trim()
  || (e.labels?.length ? text(e.labels[0]) : text(e)));
const kinds = kind === "field" ? "input, select, textarea"
  : "button, a[href], summary, input[type=checkbox], input[type=radio], [role=button], [role=switch], [role=tab], [role=option]";
const all = [...inside.querySelectorAll(kinds)].filter(shown);
return all.find(e => named(e) === name) ?? all.find(e => named(e).startsWith(name)) ?? null;
"#;
