//! Events of the log with their fields, for a command that shows them in its own way.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::writer::LogWriter;

/// An event of the log.
#[derive(Debug)]
pub struct LogEvent {
    /// Its level.
    pub level: Level,
    /// Whether a plugin has logged it.
    pub is_guest: bool,
    /// Its text.
    pub message: String,
    fields: Vec<(&'static str, String)>,
}

impl LogEvent {
    /// An event with a text and without fields.
    #[must_use]
    pub fn new(level: Level, is_guest: bool, message: &str) -> Self {
        Self { level, is_guest, message: message.to_owned(), fields: Vec::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    /// Returns the value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

impl Visit for LogEvent {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.fields.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string doesn't fail.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
}

/// A layer of the log that writes what `show` makes of each event.
pub(super) struct Observer<F> {
    show: F,
    writer: LogWriter,
}

impl<F> Observer<F> {
    pub(super) fn new(show: F, writer: LogWriter) -> Self {
        Self { show, writer }
    }
}

impl<S: Subscriber, F: Fn(&LogEvent) -> Option<String> + 'static> Layer<S> for Observer<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut seen = LogEvent::new(*metadata.level(), metadata.target() == super::filter::GUEST, "");
        event.record(&mut seen);
        if let Some(text) = (self.show)(&seen) {
            self.writer.push(format!("{text}\n").as_bytes());
        }
    }
}
