//! What `bennu dev` writes to the terminal: a line for each generation, the log of plugins, and faults over several lines.

use std::io::{self, IsTerminal};
use std::time::Duration;

use bennu::server::LogEvent;
use bennu::terminal::shown;
use tracing::Level;

use super::super::building::Seconds;

/// The beginning of the messages about plugins that are loaded.
const LOADED: &str = "plugin_loaded";
const RELOADED: &str = "plugin_reloaded";

/// The beginning of the message about a file that is refused.
const REFUSED: &str = "plugin_refused: ";

/// What follows the reason of a refusal.
const CONSEQUENCES: [&str; 2] = [" (the running generation continues to serve", " (it is not served"];

/// The beginning of the message about a fault.
const FAULT: &str = "fault";

/// An event of the host that a developer wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DevEvent {
    /// A generation serves.
    Generation { plugin: String, generation: u32, topics: String, compiling: Duration, is_first: bool },
    /// A file was refused.
    Refused { plugin: String, why: String },
    /// A callback failed. `place` is the callback with its event, and the topic.
    Fault { plugin: String, place: String, text: String },
    /// A plugin has logged a line.
    Logged { plugin: String, topic: String, level: Level, line: String },
    /// Anything else that is a warning, or that the developer has asked for.
    Other { plugin: Option<String>, level: Level, text: String },
}

impl DevEvent {
    /// Reads an event of the log. Returns none if a developer needn't know it: without `all`, what the host says about itself at
    /// the level `info`.
    pub(super) fn of(event: &LogEvent, all: bool) -> Option<Self> {
        let text = |name: &str| event.field(name).unwrap_or_default().to_owned();
        let number = |name: &str| text(name).parse::<u64>().unwrap_or_default();
        let (plugin, message) = (text("plugin"), event.message.as_str());
        if event.is_guest {
            return Some(Self::Logged { plugin, topic: text("topic"), level: event.level, line: unescaped(message) });
        }
        if message == LOADED || message == RELOADED {
            return Some(Self::Generation {
                plugin,
                generation: u32::try_from(number("generation")).unwrap_or(u32::MAX),
                topics: text("topics"),
                compiling: Duration::from_millis(number("compiling_ms")),
                is_first: message == LOADED,
            });
        }
        if let Some(why) = message.strip_prefix(REFUSED) {
            return Some(Self::Refused { plugin, why: reason(why).to_owned() });
        }
        if message.starts_with(FAULT) && event.field("kind").is_some() {
            return Some(Self::Fault { plugin, place: place(event), text: fault_lines(message, &text("kind")) });
        }
        let plugin = Some(plugin).filter(|plugin| !plugin.is_empty());
        let is_wanted = all || event.level <= Level::WARN;
        is_wanted.then(|| Self::Other { plugin, level: event.level, text: message.to_owned() })
    }
}

/// The reason of a refusal, without the path of the file before it and the consequence after it.
fn reason(message: &str) -> &str {
    let message =
        CONSEQUENCES.iter().find_map(|words| message.rsplit_once(words)).map_or(message, |(reason, _)| reason);
    let is_file = |path: &str| ["wasm", "ts", "js"].iter().any(|ending| path.ends_with(&format!(".{ending}")));
    message.split_once(": ").filter(|(path, _)| is_file(path)).map_or(message, |(_, reason)| reason)
}

/// The callback that failed, with its event, and the topic.
fn place(event: &LogEvent) -> String {
    let field = |name: &str| event.field(name).filter(|value| !value.is_empty());
    let callback = field("callback").unwrap_or("a callback");
    let subject = field("event").or_else(|| field("seat")).map(|subject| format!(" `{subject}`")).unwrap_or_default();
    let topic = field("topic").map(|topic| format!(" of {topic}")).unwrap_or_default();
    let user = field("user").map(|user| format!(", user {user}")).unwrap_or_default();
    format!("{callback}{subject}{topic}{user}")
}

/// The text of a fault over several lines: its cause, what was printed, and each place in the source.
fn fault_lines(message: &str, kind: &str) -> String {
    let detail = message.split_once(": ").map_or(message, |(_, detail)| detail);
    let detail = detail.replace("; it printed: ", "\nit printed:\n").replace("; in ", "\n  in ");
    let detail = unescaped(&detail.replace(", called by ", "\n  called by "));
    if kind == "trap" || kind == "failed" { detail } else { format!("{kind}: {detail}") }
}

/// Puts back the line breaks and tabs that the log has escaped.
fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

/// The colours of the terminal, or none.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    has_colours: bool,
}

impl Paint {
    /// Colours, if the standard error is a terminal.
    pub(super) fn of_terminal() -> Self {
        Self { has_colours: io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { has_colours: false }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A line about something that went well.
    pub(super) fn good(self, plugin: &str, text: &str) -> String {
        format!("{} {}", self.paint("1;32", &format!("{}:", shown::name(plugin))), shown::lines(text))
    }

    /// A text about something that went wrong. Its further lines are indented.
    pub(super) fn bad(self, plugin: &str, text: &str) -> String {
        format!("{} {}", self.paint("1;31", &format!("{}:", shown::name(plugin))), indented(&shown::lines(text)))
    }

    /// A line that a plugin has logged.
    pub(super) fn logged(self, plugin: &str, topic: &str, level: Level, line: &str) -> String {
        let colour = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            _ => "2",
        };
        let topic = if topic.is_empty() { String::new() } else { format!(" {}", shown::name(topic)) };
        let head = self.paint(colour, &format!("{}{topic} {}:", shown::name(plugin), level.as_str().to_lowercase()));
        format!("{head} {}", indented(&shown::lines(line)))
    }

    /// A remark of the host.
    pub(super) fn remark(self, level: Level, text: &str) -> String {
        let colour = if level <= Level::ERROR { "31" } else { "33" };
        format!(
            "{} {}",
            self.paint(colour, &format!("{}:", level.as_str().to_lowercase())),
            indented(&shown::lines(text))
        )
    }
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n  ")
}

/// The line about a new generation.
pub(super) fn generation(number: u32, took: Duration, topics: &str, members: Option<usize>) -> String {
    let rest = match members {
        None | Some(0) if topics.is_empty() => String::new(),
        None | Some(0) => format!(", serves {topics}"),
        Some(1) => ", 1 member went on".to_owned(),
        Some(members) => format!(", {members} members went on"),
    };
    format!("generation {number} in {}{rest}", Seconds(took))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(message: &str, kind: &str) -> LogEvent {
        let event = LogEvent::new(Level::WARN, false, message).with("plugin", "chat").with("kind", kind);
        event.with("callback", "handle_in").with("event", "add").with("topic", "room:1").with("user", "42")
    }

    #[test]
    fn a_fault_has_a_line_for_each_place() {
        let event =
            fault("fault: RangeError: a mistake; in add (chat.ts:19:15), called by new_msg (chat.ts:4:2)", "failed");
        let expected = DevEvent::Fault {
            plugin: "chat".into(),
            place: "handle_in `add` of room:1, user 42".into(),
            text: "RangeError: a mistake\n  in add (chat.ts:19:15)\n  called by new_msg (chat.ts:4:2)".into(),
        };
        assert_eq!(DevEvent::of(&event, false), Some(expected));
        let printed = fault("fault: unreachable; it printed: Traceback\\n  File a.py", "trap");
        let Some(DevEvent::Fault { text, .. }) = DevEvent::of(&printed, false) else { panic!("it is a fault") };
        assert_eq!(text, "unreachable\nit printed:\nTraceback\n  File a.py");
        let Some(DevEvent::Fault { text, .. }) = DevEvent::of(&fault("fault: too long", "deadline"), false) else {
            panic!("it is a fault")
        };
        assert_eq!(text, "deadline: too long");
    }

    #[test]
    fn a_generation_says_how_long_it_took_and_who_went_on() {
        let event = LogEvent::new(Level::INFO, false, "plugin_reloaded").with("plugin", "chat").with("generation", "7");
        let event = event.with("topics", "room:*").with("compiling_ms", "4");
        let Some(DevEvent::Generation { generation: number, compiling, is_first, .. }) = DevEvent::of(&event, false)
        else {
            panic!("it is a generation")
        };
        assert_eq!((number, compiling, is_first), (7, Duration::from_millis(4), false));
        let took = Duration::from_millis(412);
        assert_eq!(generation(7, took, "room:*", Some(3)), "generation 7 in 0.4 s, 3 members went on");
        assert_eq!(generation(7, took, "room:*", Some(1)), "generation 7 in 0.4 s, 1 member went on");
        assert_eq!(generation(1, compiling, "room:*", None), "generation 1 in 4 ms, serves room:*");
    }

    #[test]
    fn a_refusal_is_its_reason() {
        let text = "plugin_refused: /x/a.ts: a.ts:1:2: no (sorry)\n  1 | a (the running generation continues to serve)";
        let event = LogEvent::new(Level::ERROR, false, text).with("plugin", "a");
        let why = "a.ts:1:2: no (sorry)\n  1 | a".to_owned();
        assert_eq!(DevEvent::of(&event, false), Some(DevEvent::Refused { plugin: "a".into(), why }));
        assert_eq!(reason("it is a gatekeeper: no (it is not served, and more)"), "it is a gatekeeper: no");
    }

    #[test]
    fn the_host_is_quiet_about_itself() {
        let info = LogEvent::new(Level::INFO, false, "the key of the API is in data/api-key");
        assert_eq!(DevEvent::of(&info, false), None);
        assert!(DevEvent::of(&info, true).is_some());
        assert!(DevEvent::of(&LogEvent::new(Level::WARN, false, "something"), false).is_some());
        let logged = LogEvent::new(Level::DEBUG, true, "hello\\nyou").with("plugin", "chat").with("topic", "room:1");
        let Some(DevEvent::Logged { plugin, topic, level, line }) = DevEvent::of(&logged, false) else {
            panic!("a plugin has logged it")
        };
        assert_eq!(Paint::none().logged(&plugin, &topic, level, &line), "chat room:1 debug: hello\n  you");
    }

    #[test]
    fn text_of_plugins_has_no_control_characters() {
        assert_eq!(Paint::none().bad("a\nb", "x\x1b[2J\ny"), "a\\nb: x\\u{1b}[2J\n  y");
    }
}
