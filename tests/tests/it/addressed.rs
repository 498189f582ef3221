//! Messages to some members of a topic, and kicks, by the API and the commands.

use anyhow::{Result, ensure};
use bennu_tests::{Cast, Setup, TestHost, bennu};
use serde_json::{Value, json};

use crate::limit_counts::stop_after_hits;

/// A host whose clients have the socket id `user_socket:NAME`, with two tabs of ada and one of bo in `naughty:1`.
async fn host() -> Result<TestHost> {
    Setup::new()
        .guests(&["naughty", "reference-gate"])?
        .file("secret_key_base.txt", b"twenty bytes at the very least".to_vec())
        .config("secret_key_base = { file = \"secret_key_base.txt\" }")
        .start()
        .await
}

async fn cast(host: &TestHost) -> Result<Cast<'_>> {
    let mut cast = Cast::new(host);
    for (client, user) in [("ada", "ada"), ("tab", "ada"), ("bo", "bo")] {
        cast.enter(client, host.connect_request().query(&format!("vsn=2.0.0&user_id={user}")).connect().await?);
        cast.play(&format!("{client} > join naughty:1\n{client} < ok …")).await?;
    }
    Ok(cast)
}

#[tokio::test]
async fn some_members_of_a_topic_get_an_event() -> Result<()> {
    let host = host().await?;
    let mut cast = cast(&host).await?;
    let reached = async |path: &str, body: Value| {
        let answer = host.post(path, &body).await?;
        ensure!(answer.status == 200, "{answer:?}");
        anyhow::Ok(answer.json()?["members"].clone())
    };
    let to_ada =
        json!({ "topic": "naughty:1", "socket_id": "user_socket:ada", "event": "news", "payload": { "n": 1 } });
    ensure!(reached("/api/push", to_ada).await? == 2, "both tabs");
    cast.play("ada < news {\"n\": 1}\ntab < news {\"n\": 1}").await?;
    ensure!(reached("/api/push", json!({ "topic": "naughty:1", "member": 3, "event": "only" })).await? == 1, "bo");
    cast.play("bo < only {}").await?;
    let to_bo = json!({ "topic": "naughty:1", "member": 3, "event": "hello", "payload": [1] });
    ensure!(reached("/api/send-member", to_bo).await? == 1, "bo");
    cast.play(r#"bo < addressed {"topic": "naughty:1", "event": "hello", "payload": [1]}"#).await?;
    let bytes =
        json!({ "topic": "naughty:1", "socket_id": "user_socket:ada", "event": "raw", "payload_base64": "AQID" });
    ensure!(reached("/api/push", bytes).await? == 2, "bytes, too");
    for client in ["ada", "tab"] {
        cast.client(client)?.next().await?;
    }
    for path in ["/api/push", "/api/send-member"] {
        ensure!(reached(path, json!({ "topic": "naughty:1", "member": 9, "event": "e" })).await? == 0, "nobody");
        ensure!(reached(path, json!({ "topic": "nowhere", "socket_id": "x", "event": "e" })).await? == 0, "nobody");
    }
    // A user, at the client and at the plugin. The id of a socket is none.
    let news = json!({ "topic": "naughty:1", "user": "ada", "event": "news", "payload": { "n": 2 } });
    ensure!(reached("/api/push", news).await? == 2, "both tabs");
    cast.play("ada < news {\"n\": 2}\ntab < news {\"n\": 2}").await?;
    let to_user = json!({ "topic": "naughty:1", "user": "bo", "event": "hello", "payload": [2] });
    ensure!(reached("/api/send-member", to_user).await? == 1, "bo");
    cast.play(r#"bo < addressed {"topic": "naughty:1", "event": "hello", "payload": [2]}"#).await?;
    let other = json!({ "topic": "naughty:1", "user": "user_socket:bo", "event": "e" });
    ensure!(reached("/api/push", other).await? == 0, "nobody");
    cast.play("ada ~\ntab ~\nbo ~").await?;
    for (path, body, says) in [
        ("/api/push", json!({ "topic": "t", "event": "e" }), "give `member`, `socket_id` or `user`"),
        ("/api/push", json!({ "topic": "t", "event": "e", "member": 1, "socket_id": "x" }), "only one of them"),
        ("/api/kick", json!({ "user": "ada", "socket_id": "x" }), "only one of them"),
        ("/api/kick", json!({ "user": "" }), "`user` must have 1 to 255"),
        ("/api/push", json!({ "topic": "t", "event": "e", "member": 1, "payload": [1] }), "must be a JSON object"),
        ("/api/send-member", json!({ "topic": "t", "event": "e", "socket_id": "" }), "`socket_id` must have 1 to 255"),
        ("/api/send-member", json!({ "topic": "t", "member": 1 }), "missing field `event`"),
        ("/api/kick", json!({ "topic": "t" }), "give `member`, `socket_id` or `user`"),
        ("/api/kick", json!({ "topic": "", "member": 1 }), "`topic` must have 1 to 255 bytes"),
        ("/api/kick", json!({ "member": 1, "reason": "x".repeat(256) }), "`reason` must have at most 255 bytes"),
    ] {
        let answer = host.post(path, &body).await?;
        ensure!(answer.status == 400 && answer.body.contains(says), "{says}: {answer:?}");
    }
    drop(cast);
    stop_after_hits(host, &["kick_reason"]).await
}

#[tokio::test]
async fn members_are_kicked_from_one_topic_or_from_all() -> Result<()> {
    let host = host().await?;
    let mut cast = cast(&host).await?;
    cast.play("ada > join naughty:2\nada < ok …\nada > join unruly:1\nada < ok …").await?;
    cast.play(r#"ada > sit {"seat": "ada", "ms": 60000}"#).await?;
    cast.play("ada < ok …\nada < seat {\"seat\": \"ada\", \"change\": \"taken\"}").await?;
    let one = host.post("/api/kick", &json!({ "topic": "naughty:1", "member": 2, "reason": "spam" })).await?;
    ensure!(one.json()? == json!({ "members": 1 }), "{one:?}");
    cast.play("tab < phx_close").await?;
    for client in ["ada", "bo"] {
        cast.play(&format!(r#"{client} < gone on naughty:1 {{"member": 2, "cause": "kicked", "detail": "spam"}}"#))
            .await?;
    }
    cast.play("tab > echo\ntab < unmatched\ntab > join naughty:1\ntab < ok …").await?;

    let address = host.address().to_string();
    let kick = |arguments: &[&str]| bennu(host.home(), &[&["kick", "--host", &address], arguments].concat());
    let ended = kick(&["naughty:1", "--socket-id", "user_socket:ada"])?;
    ensure!(ended.code == Some(0) && ended.output == "kicked 2 members\n", "{ended:?}");
    // The other memberships of the same connection go on. A seat is gone at once.
    cast.play("bo < gone …\nbo < gone …\nbo > join unruly:1\nbo < ok …").await?;
    let ended = kick(&["--socket-id", "user_socket:ada"])?;
    ensure!(ended.output == "kicked 2 members\n", "{ended:?}");
    cast.play("bo < seat {\"seat\": \"ada\", \"change\": \"gone\"}").await?;
    let ended = kick(&["--member", "3"])?;
    ensure!(ended.output == "kicked 1 member\n", "{ended:?}");
    cast.play("bo < phx_close on naughty:1\nbo > look\nbo < ok …\nbo ~").await?;
    // A user's members of one topic, and then of all topics. Those of others go on.
    cast.enter("cy", host.connect_request().query("vsn=2.0.0&user_id=cy").connect().await?);
    cast.play("cy > join naughty:3\ncy < ok …\nbo > join naughty:1\nbo < ok …\nbo > join naughty:3\nbo < ok …").await?;
    let ended = kick(&["naughty:3", "--user", "bo", "--reason", "spam"])?;
    ensure!(ended.output == "kicked 1 member\n", "{ended:?}");
    cast.play("bo < phx_close on naughty:3\ncy < gone …").await?;
    let ended = kick(&["--user", "bo"])?;
    ensure!(ended.output == "kicked 2 members\n", "{ended:?}");
    let mut closed = Vec::new();
    for _ in 0..2 {
        let frame = cast.client("bo")?.json().await?;
        ensure!(frame[3] == "phx_close", "{frame}");
        closed.push(frame[2].clone());
    }
    ensure!(closed.contains(&json!("naughty:1")) && closed.contains(&json!("unruly:1")), "{closed:?}");
    cast.play("cy > echo\ncy < ok …\ncy ~\nbo ~").await?;
    let ended = kick(&["naughty:1"])?;
    ensure!(ended.code == Some(2) && ended.errors.contains("--socket-id"), "{ended:?}");
    drop(cast);
    host.stop().await?;
    Ok(())
}
