//! The HTTP API call by call, the commands that use it, and its description, which must match the host's answers.

use anyhow::{Context, Result, ensure};
use bennu_tests::{
    Answer, Cast, JSON, Received, Setup, TestHost, bennu, bennu_with, fits, know, places, request, request_with,
};
use serde_json::json;

use crate::limit_counts::stop_after_hits;

/// The log filter for everything that the host and its dependencies log, except the compiler.
const EVERYTHING: &str = "trace,cranelift_codegen=warn,regalloc2=warn,wasmtime=warn,wasmtime_environ=warn,\
    wasmtime_internal_cranelift=warn,wasmtime_cranelift=warn";

async fn get(host: &TestHost, path: &str) -> Result<Answer> {
    request(host.address(), "GET", path, &[]).await
}

/// An error's status and code.
fn refused(answer: &Answer) -> Result<(u16, String)> {
    let error = &answer.json()?["error"];
    ensure!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{answer:?}");
    Ok((answer.status, error["code"].as_str().context("a code")?.to_owned()))
}

#[tokio::test]
async fn events_reach_members_from_anywhere() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.start().await?;
    let mut cast = Cast::new(&host);
    cast.enter("old", host.connect_request().query("vsn=1.0.0").connect().await?);
    cast.play("alice > join naughty:1\nalice < ok …").await?;
    let old = cast.client("old")?;
    old.send(r#"{"topic":"naughty:1","event":"phx_join","payload":{},"ref":"1"}"#).await?;
    old.json().await?;
    let body = r#"{"topic":"naughty:1","event":"news","payload":{ "n" : 1.0 , "n":2}}"#;
    let answer = request_with(host.address(), "POST", "/api/broadcast", JSON, body.as_bytes()).await?;
    ensure!(answer.status == 200 && answer.json()? == json!({ "accepted": 1, "receivers": 2 }), "{answer:?}");
    cast.play("alice < news {\"n\": 2}").await?;
    ensure!(cast.client("old")?.json().await?["event"] == "news", "the client of version 1 gets the event too");
    // A client of version 1 can't receive bytes. The other client gets a binary frame.
    let both = json!({ "messages": [
        { "topic": "naughty:1", "event": "raw", "payload_base64": "AQID" },
        { "topic": "naughty:1", "event": "last", "except": 1 },
    ]});
    ensure!(host.post("/api/broadcast", &both).await?.json()?["accepted"] == 2, "two messages are accepted");
    let received = cast.client("alice")?.next().await?;
    ensure!(matches!(&received, Received::Binary(bytes) if bytes.ends_with(&[1, 2, 3])), "{received}");
    cast.play("alice ~").await?;
    ensure!(cast.client("old")?.json().await?["event"] == "last", "the event goes to all members except 1, alice");
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_topic_message_is_answered_without_members() -> Result<()> {
    let host = TestHost::start(&["naughty", "echo"]).await?;
    let send = async |topic: &str, event: &str| {
        host.post("/api/send", &json!({ "topic": topic, "event": event, "payload": [1] })).await
    };
    ensure!(
        send("naughty:1", "echo").await?.json()? == json!({ "reply": { "status": "ok", "response": [1] } }),
        "the reply has the payload"
    );
    ensure!(
        send("naughty:1", "bytes").await?.json()? == json!({ "reply": { "status": "ok", "response_base64": "AQID" } }),
        "the reply has bytes"
    );
    ensure!(send("naughty:1", "quiet").await?.json()? == json!({ "reply": null }), "there is no reply");
    ensure!(refused(&send("nowhere:1", "echo").await?)? == (404, "not_found".into()), "no plugin serves the topic");
    let crashed = send("naughty:1", "crash").await?;
    ensure!(refused(&crashed)? == (502, "fault".into()), "{crashed:?}");
    ensure!(!crashed.body.contains("asked to"), "a plugin's own error text is only for the operator: {}", crashed.body);
    host.log().find(0, "the fault", |line| line.message().contains("asked to fail in handle_message")).await?;
    // JSON that many parsers can't represent is passed on unchanged, by the API and by the command.
    let odd =
        format!(r#"{{"big":12345678901234567890123,"dear":1e999,"deep":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let body = format!(r#"{{"topic":"naughty:1","event":"echo","payload":{odd}}}"#);
    let answer = request_with(host.address(), "POST", "/api/send", JSON, body.as_bytes()).await?;
    ensure!(answer.body == format!(r#"{{"reply":{{"response":{odd},"status":"ok"}}}}"#), "{answer:?}");
    let address = host.address().to_string();
    let ended = bennu(host.home(), &["send", "naughty:1", "echo", &odd, "--host", &address])?;
    ensure!(ended.code == Some(0) && ended.output == format!("{odd}\n"), "{ended:?}");
    // The command prints the same reply.
    let address = host.address().to_string();
    let ended = bennu(host.home(), &["send", "naughty:1", "echo", r#"{"a":1}"#, "--host", &address])?;
    ensure!(ended.code == Some(0) && ended.output == "{\"a\":1}\n", "{ended:?}");
    let ended = bennu(host.home(), &["send", "naughty:1", "refuse", "--host", &address])?;
    ensure!(ended.code == Some(1) && ended.errors.contains("the status `error`"), "{ended:?}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn invalid_requests_are_refused_with_an_explanation() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let long = "x".repeat(256);
    for (path, body, says) in [
        ("/api/broadcast", json!({ "topic": "echo:1", "event": "e", "payload": [1] }), "must be a JSON object"),
        ("/api/broadcast", json!({ "topic": long, "event": "e" }), "`topic` must have 1 to 255 bytes"),
        ("/api/broadcast", json!({ "topic": "", "event": "e" }), "`topic` must have 1 to 255 bytes"),
        ("/api/broadcast", json!({ "topic": "t", "event": "e", "paylod": {} }), "unknown field `paylod`"),
        ("/api/broadcast", json!({ "topic": "t" }), "missing field `event`"),
        ("/api/broadcast", json!({ "topic": "t", "event": "e", "payload": {}, "payload_base64": "" }), "not both"),
        ("/api/broadcast", json!({ "topic": "t", "event": "e", "payload_base64": "?" }), "payload_base64"),
        ("/api/broadcast", json!({ "messages": [{ "topic": "t", "event": "e" }, { "topic": "t" }] }), "messages[1]"),
        ("/api/broadcast", json!({ "messages": vec![json!({ "topic": "t", "event": "e" }); 1001] }), "at most 1000"),
        ("/api/send", json!({ "topic": "echo:1", "event": "e", "except": "x" }), "is only for broadcasts"),
        ("/api/disconnect", json!({ "id": 1 }), "expected a string"),
    ] {
        let answer = host.post(path, &body).await?;
        ensure!(refused(&answer)? == (400, "bad_request".into()) && answer.body.contains(says), "{says}: {answer:?}");
    }
    for path in ["/api/topics/%ff", "/api/topics/%ff/presence", "/api/plugins/%ff"] {
        let answer = get(&host, path).await?;
        ensure!(refused(&answer)? == (400, "bad_request".into()), "{path}: {answer:?}");
    }
    let plain = request_with(host.address(), "POST", "/api/send", &[("content-type", "text/plain")], b"{}").await?;
    ensure!(refused(&plain)? == (415, "not_json".into()), "{plain:?}");
    let large = vec![b' '; (8 << 20) + 1];
    let large = request_with(host.address(), "POST", "/api/send", JSON, &large).await?;
    ensure!(refused(&large)? == (413, "too_large".into()), "{large:?}");
    ensure!(refused(&get(&host, "/api/nothing").await?)? == (404, "not_found".into()), "there is no such call");
    ensure!(refused(&get(&host, "/api/send").await?)? == (405, "method_not_allowed".into()), "another method");
    let foreign = [JSON, &[("origin", "http://evil.example")]].concat();
    let foreign = request_with(host.address(), "POST", "/api/disconnect", &foreign, br#"{"id":"x"}"#).await?;
    ensure!(refused(&foreign)? == (403, "foreign_origin".into()), "{foreign:?}");
    stop_after_hits(host, &["api_body"]).await
}

/// The host sends the queued frames of a client before the close frame, also those that didn't fit into the connection's
/// buffers.
#[tokio::test]
async fn a_disconnected_client_gets_its_queued_frames_first() -> Result<()> {
    let host = Setup::new()
        .guests(&["reference", "reference-gate"])?
        .file("secret_key_base.txt", b"twenty bytes at the very least".to_vec())
        .config("secret_key_base = { file = \"secret_key_base.txt\" }")
        .limit("outbox_bytes", 64 << 20)
        .start()
        .await?;
    let mut ada = host.connect_request().query("vsn=2.0.0&user_id=ada").receive_buffer(16 << 10).connect().await?;
    ada.join("room:a/b", &json!({})).await?;
    // More bytes than the kernel buffers for a connection that isn't read.
    let shout = json!({ "topic": "room:a/b", "event": "news", "payload": { "text": "x".repeat(256 << 10) } });
    for _ in 0..24 {
        host.post("/api/broadcast", &shout).await?;
    }
    host.post("/api/disconnect", &json!({ "id": "user_socket:ada" })).await?;
    let (frames, code) = ada.until_closed().await?;
    let is_news = |frame: &&Received| matches!(frame, Received::Json(message) if message[3] == "news");
    let news = frames.iter().filter(is_news).count();
    ensure!((news, code) == (24, Some(1001)), "{news} of 24 events arrived, and then {code:?}");
    drop(ada);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn sockets_are_disconnected_and_topics_and_members_are_listed() -> Result<()> {
    let host = Setup::new()
        .guests(&["reference", "reference-gate"])?
        .file("secret_key_base.txt", b"twenty bytes at the very least".to_vec())
        .config("secret_key_base = { file = \"secret_key_base.txt\" }")
        .start()
        .await?;
    let mut cast = Cast::new(&host);
    for name in ["ada", "bo"] {
        cast.enter(name, host.connect_request().query(&format!("vsn=2.0.0&user_id={name}")).connect().await?);
        let join =
            // The diff is awaited, too, so that ada's does not reach bo, who joins next.
            format!(
                "{name} > join room:a/b {{\"presence\": \"{name}\"}}\n{name} < ok …\n{name} < presence_state …\n\
                 {name} < presence_diff …"
            );
        cast.play(&join).await?;
    }
    let topics = get(&host, "/api/topics?prefix=room:").await?.json()?;
    ensure!(topics == json!({ "topics": [{ "topic": "room:a/b", "members": 2 }] }), "{topics}");
    ensure!(
        get(&host, "/api/topics?after=room:a/b").await?.json()? == json!({ "topics": [] }),
        "no topic comes after it"
    );
    ensure!(refused(&get(&host, "/api/topics?limit=many").await?)?.0 == 400, "a limit is a number");
    let topic = get(&host, "/api/topics/room%3Aa%2Fb").await?.json()?;
    ensure!(topic["members"] == 2 && topic["people"][0]["socket_id"] == "user_socket:ada", "{topic}");
    let online = get(&host, "/api/topics/room%3Aa%2Fb/presence").await?.json()?;
    ensure!(online["ada"]["metas"][0]["phx_ref"].is_string() && online["bo"].is_object(), "{online}");
    // A broadcast can exclude the sockets with an id.
    let shout = json!({ "topic": "room:a/b", "event": "hush", "except": "user_socket:ada" });
    host.post("/api/broadcast", &shout).await?;
    let gone = host.post("/api/disconnect", &json!({ "id": "user_socket:ada" })).await?.json()?;
    ensure!(gone == json!({ "sockets": 1 }), "{gone}");
    cast.play("ada < presence_diff …\nada < close 1001").await?;
    let address = host.address().to_string();
    let run = |arguments: &[&str]| bennu(host.home(), &[arguments, &["--host", &address]].concat());
    ensure!(run(&["topics"])?.output.contains("1  room:a/b"), "{:?}", run(&["topics"])?);
    ensure!(run(&["presence", "room:a/b"])?.output.starts_with("bo  {"), "{:?}", run(&["presence", "room:a/b"])?);
    ensure!(run(&["broadcast", "room:a/b", "news", r#"{"n":1}"#])?.code == Some(0), "the event is sent");
    ensure!(
        run(&["broadcast", "room:a/b", "news", "{"])?.errors.contains("the payload must be JSON"),
        "the payload isn't JSON"
    );
    ensure!(run(&["disconnect", "user_socket:bo"])?.output == "1 sockets\n", "bo is disconnected");
    let absent = bennu(host.home(), &["topics", "--host", "127.0.0.1:1"])?;
    ensure!(absent.code == Some(1) && absent.errors.contains("is it running there?"), "{absent:?}");
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn plugins_are_reloaded_unloaded_and_rolled_back() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let address = host.address().to_string();
    let plugins = |arguments: &[&str]| bennu(host.home(), &[&["plugins", "--host", &address], arguments].concat());
    let mut cast = Cast::new(&host);
    cast.play("alice > join echo:1\nalice < ok {}\nalice > count\nalice < ok {\"count\": 1, \"build\": \"1\"}").await?;
    let none = plugins(&["rollback", "echo"])?;
    ensure!(none.code == Some(1) && none.errors.contains("no generation before"), "{none:?}");
    host.reload("echo", "variants/echo-v2").await?;
    cast.play("alice > count\nalice < ok {\"count\": 2, \"build\": \"2\"}").await?;
    // After the rollback to the first build, the members stay. The file still has the second build.
    let back = plugins(&["rollback", "echo"])?;
    ensure!(back.output.contains("generation 1") && back.output.contains("rolled back"), "{back:?}");
    cast.play("alice > count\nalice < ok {\"count\": 3, \"build\": \"1\"}").await?;
    let again = plugins(&["reload", "echo"])?;
    ensure!(again.output.contains("generation 3"), "{again:?}");
    cast.play("alice > count\nalice < ok {\"count\": 4, \"build\": \"2\"}").await?;
    let gone = plugins(&["unload", "echo"])?;
    ensure!(gone.output.contains("not served") && gone.output.contains("unloaded by an operator"), "{gone:?}");
    cast.play("alice < phx_error\nalice > join echo:1\nalice < unmatched").await?;
    // A changed file alone doesn't load an unloaded plugin.
    std::fs::write(host.plugin_file("echo"), places::guest("echo")?)?;
    plugins(&["reload", "echo"])?;
    cast.play("alice > join echo:1\nalice < ok {}\nalice > count\nalice < ok {\"count\": 1, \"build\": \"1\"}").await?;
    ensure!(plugins(&["unload", "nobody"])?.errors.contains("there is no plugin `nobody`"), "an unknown plugin");
    let unknown = host.post("/api/plugins/echo/dance", &json!({})).await?;
    ensure!(refused(&unknown)? == (404, "not_found".into()), "{unknown:?}");
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn every_request_needs_the_configured_key() -> Result<()> {
    let host = Setup::new()
        .guests(&["echo"])?
        .file("key.txt", b"sesame, open\n".to_vec())
        .config("[api]\nkey = { file = \"key.txt\" }\n")
        .arguments(&["--log", EVERYTHING])
        .start()
        .await?;
    let ask = async |headers: &[(&str, &str)]| request(host.address(), "GET", "/api/inspect", headers).await;
    ensure!(refused(&ask(&[]).await?)? == (401, "key_needed".into()), "the request has no key");
    ensure!(
        refused(&ask(&[("authorization", "Bearer sesame")]).await?)? == (401, "wrong_key".into()),
        "the key is wrong"
    );
    ensure!(
        ask(&[("authorization", "Bearer sesame, open"), ("x-forwarded-for", "192.0.2.1")]).await?.status == 200,
        "the key is right"
    );
    let address = host.address().to_string();
    let wanted = bennu(host.home(), &["plugins", "--host", &address])?;
    ensure!(wanted.code == Some(1) && wanted.errors.contains("BENNU_API_KEY"), "{wanted:?}");
    let given = bennu(host.home(), &["plugins", "--host", &address, "--key-file", "key.txt"])?;
    ensure!(given.code == Some(0) && given.output.contains("plugin echo: generation 1"), "{given:?}");
    let given = bennu_with(host.home(), &["topics", "--host", &address], &[("BENNU_API_KEY", "sesame, open")])?;
    ensure!(given.code == Some(0), "{given:?}");
    let log = host.stop().await?;
    ensure!(!log.tail(100_000).contains("sesame"), "the key is in the log");
    Ok(())
}

#[tokio::test]
async fn the_api_can_have_its_own_address_or_be_disabled() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.config("[api]\nlisten = \"127.0.0.1:0\"\n").start().await?;
    let line = host.log().find(0, "the address", |line| line.message().starts_with("the API listens on")).await?;
    let apart = line.message().rsplit('/').next().context("an address")?.parse()?;
    ensure!(
        request(apart, "GET", "/api/inspect", &[]).await?.status == 401,
        "the API needs its key at its own address"
    );
    know(apart, &host.api_key()?);
    ensure!(request(apart, "GET", "/api/inspect", &[]).await?.status == 200, "the API is at its own address");
    ensure!(get(&host, "/api/inspect").await?.status == 404, "the API isn't at the host's address");
    host.connect().await?;
    let host = Setup::new().guests(&["echo"])?.config("[api]\nenabled = false\n").start().await?;
    ensure!(get(&host, "/api/inspect").await?.status == 404, "the API is disabled");
    Ok(())
}

/// Makes every call of the description, and compares each answer with its schema.
#[tokio::test]
async fn the_description_matches_the_answers() -> Result<()> {
    // Nobody listens on this port.
    let config = "[plugins.naughty]\nhttp = [\"http://127.0.0.1:9/*\"]\n";
    let host = Setup::new().guests(&["naughty"])?.config(config).start().await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join naughty:1\nalice < ok …\nalice > track {\"key\": \"a\", \"meta\": {}}").await?;
    let schedule = json!({ "topic": "naughty:1", "event": "schedule", "payload": { "key": "k", "ms": 3_600_000 } });
    host.post("/api/send", &schedule).await?;
    let delivery = json!({ "topic": "naughty:1", "event": "deliver", "payload": { "url": "http://127.0.0.1:9/" } });
    host.post("/api/send", &delivery).await?;
    let listed = get(&host, "/api/deliveries").await?.json()?;
    let document = get(&host, "/api/openapi.json").await?.json()?;
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().context("paths")? {
        for (method, call) in methods.as_object().context("methods")? {
            let filled = path.replace("{topic}", "naughty%3A1").replace("{name}", "naughty");
            let body = match path.as_str() {
                "/api/disconnect" => json!({ "id": "user:1" }),
                "/api/config/reload" => json!({ "dry_run": true }),
                "/api/push" | "/api/send-member" => json!({ "topic": "naughty:1", "member": 1, "event": "e" }),
                "/api/kick" => json!({ "topic": "naughty:1", "member": 99 }),
                "/api/schedules/retry" | "/api/schedules/drop" => {
                    json!({ "plugin": "naughty", "topic": "naughty:1", "key": "k" })
                }
                "/api/deliveries/retry" | "/api/deliveries/drop" => {
                    json!({ "plugin": "naughty", "id": listed["deliveries"][0]["id"] })
                }
                _ => json!({ "topic": "naughty:1", "event": "echo", "payload": {} }),
            };
            let body = if method == "post" { body.to_string() } else { String::new() };
            let method = method.to_uppercase();
            let answer = request_with(host.address(), &method, &filled, JSON, body.as_bytes()).await?;
            let documented = &call["responses"][answer.status.to_string()];
            seen += 1;
            if documented["content"]["application/jsonl"].is_object() {
                // Another test reads it.
                continue;
            }
            ensure!(documented.is_object(), "{method} {path} answers {}, which isn't documented", answer.status);
            let schema = &documented["content"]["application/json"]["schema"];
            fits(&document, schema, &answer.json()?, &format!("{method} {path}"))?;
        }
    }
    ensure!(seen == 32, "{seen} calls are described");
    // In the loop, the body was invalid for the call that stops the host.
    let drained = host.post("/api/drain", &json!({})).await?;
    ensure!(drained.status == 200, "{drained:?}");
    let answers = &document["paths"]["/api/drain"]["post"]["responses"];
    let schema = &answers["200"]["content"]["application/json"]["schema"];
    fits(&document, schema, &drained.json()?, "POST /api/drain")?;
    Ok(())
}

/// serde would also read a struct from an array of its fields' values, which isn't documented.
#[tokio::test]
async fn the_api_accepts_objects_and_not_arrays() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    for (path, body) in [
        ("/api/broadcast", json!(["naughty:1", "news", {}, null, null])),
        ("/api/broadcast", json!({ "messages": [["naughty:1", "news", {}, null, null]] })),
        ("/api/send", json!(["naughty:1", "echo", {}, null, null])),
        ("/api/disconnect", json!(["user_socket:1"])),
    ] {
        let answer = host.post(path, &body).await?;
        ensure!(refused(&answer)?.0 == 400, "{path} {body}: {answer:?}");
    }
    host.stop().await?;
    Ok(())
}
