//! Tests of `bennu kit`: lines of input, and the lines that it writes.

use std::cell::RefCell;
use std::io::{self, Cursor, Write};
use std::rc::Rc;

use serde_json::{Value, json};

use super::*;

#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs the command with these lines as input. Returns its lines of output, and its result.
fn play(lines: &[&str]) -> (Vec<Value>, Result<()>) {
    let written = Written::default();
    let input: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    let served = serve(Wire::new(Cursor::new(input.into_bytes()), written.clone()));
    let text = String::from_utf8(written.0.take()).expect("text");
    (text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(), served)
}

const ROUTES: &str = r#"{"do": "routes", "routes": [{"pattern": "room:*"}]}"#;
const CONNECT: &str = r#"{"do": "connect", "user": "ada"}"#;
const JOIN: &str = r#"{"do": "push", "client": 1, "topic": "room:1", "event": "phx_join"}"#;
const ADMIT: &str = r#"{"return": {"assigns": {"n": 1}, "payload": {"hello": true}}}"#;
const NEXT: &str = r#"{"do": "next", "client": 1}"#;

#[test]
fn a_member_joins_and_is_answered() {
    let say = r#"{"do": "push", "client": 1, "topic": "room:1", "event": "say", "payload": {"a": 1}}"#;
    let push = r#"{"ask": "push", "event": "said", "payload": {"b": 2}}"#;
    let back = r#"{"return": {"reply": {"payload": "done"}}}"#;
    let (output, served) = play(&[ROUTES, CONNECT, JOIN, ADMIT, NEXT, say, push, back, NEXT, NEXT, NEXT]);
    assert!(served.is_ok());
    assert_eq!(
        output,
        [
            json!({ "ok": null }),
            json!({ "ok": 1 }),
            json!({ "call": "join", "member": 1, "topic": "room:1", "room": null, "payload": {} }),
            json!({ "ok": "1" }),
            json!({ "ok": { "frame": ["1", "1", "room:1", "phx_reply", { "status": "ok", "response": { "hello": true } }] } }),
            json!({
                "call": "handle_in",
                "member": 1,
                "topic": "room:1",
                "room": null,
                "assigns": { "n": 1 },
                "event": "say",
                "payload": { "a": 1 },
                "ref": "\"2\"",
            }),
            json!({ "ok": null }),
            json!({ "ok": "2" }),
            json!({ "ok": { "frame": ["1", null, "room:1", "said", { "b": 2 }] } }),
            json!({ "ok": { "frame": ["1", "2", "room:1", "phx_reply", { "status": "ok", "response": "done" }] } }),
            json!({ "ok": null }),
        ]
    );
}

#[test]
fn an_invalid_line_is_reported_and_skipped() {
    let (output, served) = play(&[
        "nonsense",
        "[]",
        r#"{"doo": 1}"#,
        r#"{"do": "dance"}"#,
        r#"{"do": "connect", "usr": "ada"}"#,
        r#"{"do": "advance", "ms": "soon"}"#,
        NEXT,
        ROUTES,
        CONNECT,
        r#"{"do": "frame", "client": 1, "frame": [1, 2]}"#,
        JOIN,
        r#"{"do": "advance", "ms": 1}"#,
        r#"{"ask": "dance"}"#,
        r#"{"ask": "push", "event": "e", "topic": "room:2"}"#,
        r#"{"return": {"assigns": 1, "extra": 2}}"#,
        ADMIT,
    ]);
    assert!(served.is_ok());
    let errors: Vec<_> = output.iter().filter_map(|line| line["error"].as_str()).collect();
    assert_eq!(errors.len(), 12, "{errors:?}");
    assert_eq!(errors[3], "there is no `dance` to do");
    assert_eq!(errors[4], "there is no `usr` here");
    assert_eq!(errors[6], "there is no client 1");
    assert_eq!(errors[8], "a callback is under way: a line has `ask`, `return` or `fail`");
    assert_eq!(output.last(), Some(&json!({ "ok": "1" })), "the join continues");
}

#[test]
fn a_callback_with_a_fault_has_failed_even_if_it_continues() {
    let list = r#"{"ask": "push", "event": "e", "payload": [1]}"#;
    let good = r#"{"ask": "push", "event": "e", "payload": {}}"#;
    let (output, _) = play(&[ROUTES, CONNECT, JOIN, list, good, ADMIT, NEXT, r#"{"do": "faults"}"#]);
    let detail = "event `e`: the payload of a push or broadcast must be a JSON object or binary";
    let fault = json!({ "kind": "failed", "detail": detail });
    assert_eq!(output[3..5], [json!({ "fault": fault }), json!({ "fault": fault })]);
    let crashed =
        json!(["1", "1", "room:1", "phx_reply", { "status": "error", "response": { "reason": "join crashed" } }]);
    assert_eq!(output[6], json!({ "ok": { "frame": crashed } }));
    assert_eq!(output[7], json!({ "ok": [fault] }));
}

#[test]
fn an_end_of_the_input_during_a_callback_is_an_error() {
    let (_, served) = play(&[ROUTES, CONNECT, JOIN]);
    assert!(served.is_err_and(|error| error.to_string() == "the client has gone in the middle of a callback"));
}

#[test]
fn a_payload_text_with_line_breaks_is_written_as_one_line() {
    let text = r#"{"ask": "push", "event": "e", "payload_text": "{\n\"a\":\r\n1}"}"#;
    let (output, _) = play(&[ROUTES, CONNECT, JOIN, text, ADMIT, NEXT, NEXT]);
    assert_eq!(output[6], json!({ "ok": { "frame": ["1", null, "room:1", "e", { "a": 1 }] } }));
}

/// Runs an example. The lines after `> ` are the input, and the lines after `< ` are the expected output.
fn check(example: &str) {
    let lines = |mark| example.lines().filter_map(move |line| line.trim().strip_prefix(mark)).collect::<Vec<_>>();
    let (sent, expected) = (lines("> "), lines("< "));
    assert!(sent.len() > 3);
    let expected: Vec<Value> = expected.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (output, served) = play(&sent);
    assert!(served.is_ok());
    assert_eq!(output, expected);
}

#[test]
fn the_examples_in_the_documents_have_the_given_output() {
    check(PROTOCOL);
    check(include_str!("../../../../docs/kit.md"));
}
