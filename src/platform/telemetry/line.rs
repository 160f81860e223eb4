//! One event as one line of text.

use std::fmt::{Debug, Display, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::platform::clock::Timestamp;
use crate::platform::web::TraceId;

/// Characters of one value that are written at most.
const LONGEST: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Json,
    Plain,
    Colours,
}

impl Look {
    pub(super) fn line(self, at: Timestamp, event: &Event<'_>) -> String {
        let mut values = Values {
            look: self,
            written: String::new(),
            message: String::new(),
            target: None,
            names_trace: false,
        };
        event.record(&mut values);
        // The line of a request, and of a letter, names its id itself.
        if !values.names_trace
            && let Some(trace_id) = TraceId::current()
        {
            values.text("trace_id", trace_id.as_str());
        }
        let target = values.target.as_deref().unwrap_or(event.metadata().target());
        let level = event.metadata().level();
        let time = at.rfc3339();
        let Values { message, written, .. } = &values;
        match self {
            Self::Json => {
                format!(
                    r#"{{"time":"{time}","level":"{level}","target":"{target}","message":"{message}"{written}}}"#
                ) + "\n"
            }
            Self::Plain => format!("{time} {level:5} {target}: {message}{written}\n"),
            Self::Colours => {
                let colour = colour(*level);
                format!(
                    "\u{1b}[2m{time}\u{1b}[0m {colour}{level:5}\u{1b}[0m \u{1b}[2m{target}:\u{1b}[0m {message}{written}\n"
                )
            }
        }
    }
}

const fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

/// The values of an event, written as they come.
struct Values {
    look: Look,
    written: String,
    message: String,
    /// Where an event of the `log` crate says it comes from.
    target: Option<String>,
    names_trace: bool,
}

impl Values {
    fn text(&mut self, name: &str, value: &str) {
        match name {
            "message" => escape(&mut self.message, value),
            "log.target" => escape(self.target.get_or_insert_default(), value),
            _ if name.starts_with("log.") => {}
            _ => {
                self.name(name);
                let bare = self.look != Look::Json && !value.is_empty() && !value.contains([' ', '=', '"']);
                let quote = if bare { "" } else { "\"" };
                self.written.push_str(quote);
                escape(&mut self.written, value);
                self.written.push_str(quote);
            }
        }
    }

    fn plain(&mut self, field: &Field, value: impl Display) {
        if !field.name().starts_with("log.") {
            self.name(field.name());
            append(&mut self.written, format_args!("{value}"));
        }
    }

    fn name(&mut self, name: &str) {
        self.names_trace |= name == "trace_id";
        match self.look {
            Look::Json => append(&mut self.written, format_args!(",\"{name}\":")),
            Look::Plain => append(&mut self.written, format_args!(" {name}=")),
            Look::Colours => append(&mut self.written, format_args!(" \u{1b}[2m{name}=\u{1b}[0m")),
        }
    }
}

impl Visit for Values {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        append(&mut text, format_args!("{value:?}"));
        self.text(field.name(), &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.plain(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }
}

/// A value whose own formatting fails ends there; the line goes on.
fn append(text: &mut String, value: std::fmt::Arguments<'_>) {
    if text.write_fmt(value).is_err() {
        text.push('…');
    }
}

/// As in a JSON string (RFC 8259, 7), with every control character escaped, those above ASCII too.
fn escape(out: &mut String, text: &str) {
    for char in text.chars().take(LONGEST) {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            hidden if hidden.is_control() || matches!(hidden, '\u{2028}' | '\u{2029}') => {
                append(out, format_args!("\\u{:04x}", u32::from(hidden)));
            }
            shown => out.push(shown),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::{Context, SubscriberExt};
    use tracing_subscriber::{Layer, Registry};

    use super::*;

    struct Kept(Look, Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let at = Timestamp::from_millis(1_700_000_000_123);
            self.1.lock().unwrap().push(self.0.line(at, event));
        }
    }

    fn logged(look: Look, act: impl FnOnce()) -> String {
        let lines = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Registry::default().with(Kept(look, Arc::clone(&lines))), act);
        let lines = lines.lock().unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].matches('\n').count(), 1, "{}", lines[0]);
        lines[0].clone()
    }

    #[test]
    fn an_event_is_one_json_object() {
        let line = logged(Look::Json, || {
            tracing::warn!(status = 200, ok = true, name = "ann", shown = ?Some(1.5), "request");
        });
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            read,
            json!({"time": "2023-11-14T22:13:20.123Z", "level": "WARN", "target": module_path!(),
                "message": "request", "status": 200, "ok": true, "name": "ann", "shown": "Some(1.5)"})
        );
    }

    #[test]
    fn nothing_a_client_writes_can_begin_a_line_or_colour_a_terminal() {
        let nasty = "x\n{\"level\":\"info\",\"msg\":\"admin ok\"}\r\u{1b}[31m\u{9b}31m\u{7f}\u{2028}\0";
        for look in [Look::Json, Look::Plain] {
            let line = logged(look, || tracing::info!(name = nasty, "{nasty}"));
            assert!(line.trim_end().chars().all(|char| !char.is_control()), "{line:?}");
        }
        let line = logged(Look::Json, || tracing::info!(name = nasty, "{nasty}"));
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["name"], &read["message"]), (&json!(nasty), &json!(nasty)));
        assert_eq!(read["level"], "INFO");
    }

    #[test]
    fn a_long_value_is_cut() {
        let long = "x".repeat(1 << 20);
        assert!(logged(Look::Json, || tracing::info!(long, "line")).len() < 5000);
    }

    #[test]
    fn people_get_names_and_values() {
        let line = logged(Look::Plain, || tracing::info!(status = 200, words = "two words", "request"));
        assert!(line.ends_with(": request status=200 words=\"two words\"\n"), "{line}");
    }

    #[tokio::test]
    async fn a_line_of_a_request_carries_its_trace_id() {
        let id = TraceId::from(uuid::Uuid::max());
        let line = id.clone().scope(async { logged(Look::Json, || tracing::info!("inside")) }).await;
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["trace_id"], id.as_str());
    }
}
