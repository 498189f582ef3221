//! Requests by HTTP in native tests.

#![allow(clippy::unwrap_used)]

use bennu_guest::prelude::*;

#[derive(Serialize, Deserialize)]
struct Asker;

const URL: &str = "https://a.example/";

impl Channel for Asker {
    type Room = u32;
    const INTERCEPTS: &'static [&'static str] = &["secret"];

    fn join(_socket: &mut Socket<u32>, _params: Payload) -> Join<Self> {
        Ok(Asker)
    }

    fn handle_in(&mut self, socket: &mut Socket<u32>, event: &str, payload: Payload) -> Handled {
        match event {
            "gets" => {
                for _ in 0..payload.field::<u32>("count")? {
                    let _ = http::get(URL);
                }
                ok()
            }
            "post" => reply(http::Request::post(URL).wait()?.text()),
            "header" => {
                let request = http::Request::get(URL).header("accept", "text/plain").timeout(Duration::from_secs(1));
                let response = request.wait()?;
                reply(json!([response.header("Content-Type"), response.is_success()]))
            }
            _ => {
                http::Request::new("PUT", URL).body("x").send(socket, &"k".repeat(payload.field("bytes")?));
                ok()
            }
        }
    }

    fn handle_out(&self, _recipient: &Recipient, _event: &str, _payload: &Payload) -> Decided {
        let _ = http::get(URL);
        Ok(Decision::Pass)
    }

    fn handle_tick(_topic: &mut Topic<u32>, _tick: &Tick) -> Ticked {
        http::get(URL).map(drop).map_err(|failure| Error::Failed(failure.to_string()))
    }

    fn terminate(&mut self, _socket: &mut Socket<u32>, _ending: Ending) {
        let _ = http::get(URL);
    }
}

fn member() -> testing::Member<Asker> {
    testing::Setup::new().http("GET", URL, 200, json!({})).join("t", json!({})).unwrap()
}

#[test]
fn an_answer_has_headers() {
    let out = member().push("header", json!({}));
    assert_eq!(out.reply(), ("ok", json!(["application/json", true])));
}

#[test]
fn a_callback_waits_only_so_often_and_only_for_methods_that_read() {
    assert_eq!(member().push("gets", json!({ "count": 8 })).reply(), ("ok", json!({})));
    let too_often = member().push("gets", json!({ "count": 9 }));
    assert!(too_often.fault().unwrap().detail.contains("limits.http_gets_per_call = 8"));
    let post = member().push("post", json!({}));
    assert!(post.fault().unwrap().detail.contains("GET and HEAD"));
    let long = member().push("send", json!({ "bytes": 256 }));
    let fault = long.fault().unwrap();
    assert_eq!(fault.kind, "trap");
    assert!(fault.detail.ends_with("the key of a request has at most 255 bytes, not 256"));
}

#[test]
fn only_callbacks_that_may_have_effects_may_wait() {
    assert!(member().tick(Tick { number: 1, missed: 0, period_ms: 10 }).fault().is_none());
    let gone = member().leave();
    assert!(gone.fault().unwrap().detail.contains("can't wait for an answer by HTTP"), "{gone:?}");
}

#[test]
#[should_panic(expected = "can't wait for an answer by HTTP")]
fn handle_out_may_not_wait() {
    let _ = member().handle_out("secret", json!({}));
}
