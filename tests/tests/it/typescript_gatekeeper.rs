//! Gatekeepers in TypeScript: a script can decide about connections.

use anyhow::{Result, ensure};
use bennu_tests::{Loading, Setup, TestHost, get};
use rustix::process::Signal;
use serde_json::json;

const GATE: &str = r#"
import { forbid, gatekeeper, token } from "bennu";

export default gatekeeper((request) => {
  const { who, token: signed } = request.params;
  switch (who) {
    case "nobody": return forbid(401, "go away");
    case "wrong": return null as any;
    case "crash": return (request as any).missing.field;
    case "token": return { user: token.verify("user", signed) };
    case "headers": return { user: [request.mount, request.transport, request.header("Host") !== undefined, request.peer.ip,
      request.uri.path, request.authToken ?? "none"].join(" ") };
    default: return { user: who, socketId: `user_socket:${who}`, claims: { role: "member" } };
  }
});
"#;

const WHO: &str = r#"
import { channel, plugin } from "bennu";
export default plugin({
  "who:*": channel({ join: (_, socket) => ({ user: socket.user ?? null, id: socket.socketId ?? null, claims: socket.claims }) }),
});
"#;

async fn host() -> Result<TestHost> {
    let setup = Setup::new().file("plugins/gate.ts", GATE.into()).file("plugins/who.ts", WHO.into());
    let secret = "s".repeat(64).into_bytes();
    setup.file("secret.txt", secret).config("secret_key_base = { file = \"secret.txt\" }").start().await
}

/// The status and the body of a request without an upgrade. The status is 400 if the client would be admitted.
async fn decision(host: &TestHost, query: &str) -> Result<(u16, String)> {
    let response = get(host.address(), &format!("/socket/websocket?vsn=2.0.0&{query}")).await?;
    Ok((response.status, response.body))
}

#[tokio::test]
async fn a_script_decides_about_connections() -> Result<()> {
    let host = host().await?;
    let shown = host.inspect().await?;
    ensure!(shown["plugins"]["gate"]["kind"] == "gatekeeper", "{shown}");
    for (who, expected) in [
        ("ada", json!({ "user": "ada", "id": "user_socket:ada", "claims": { "role": "member" } })),
        (
            "headers",
            json!({ "user": "/socket websocket true 127.0.0.1 /socket/websocket none", "id": null, "claims": {} }),
        ),
    ] {
        let mut client = host.connect_request().query(&format!("vsn=2.0.0&who={who}")).connect().await?;
        let response = client.join("who:1", &json!({})).await?;
        ensure!(response == expected, "{response}");
        client.close().await?;
    }
    ensure!(decision(&host, "who=nobody").await? == (401, "go away".to_owned()));
    ensure!(decision(&host, "who=token&token=forged").await?.0 == 403, "an invalid token is no fault");
    ensure!(decision(&host, "who=wrong").await?.0 == 500, "it must say who the client is");
    ensure!(decision(&host, "who=crash").await?.0 == 500);
    host.log().find(0, "the line of the exception", |line| line.text.contains("in <anonymous> (gate.ts:")).await?;
    host.stop().await?;
    Ok(())
}

/// A gatekeeper with a mistake closes its mount. It isn't taken for a plugin that is no gatekeeper.
#[tokio::test]
async fn a_broken_gatekeeper_opens_no_mount() -> Result<()> {
    let host = host().await?;
    let broken = GATE.replace("switch (who)", "switch (who");
    ensure!(matches!(host.put_file("gate.ts", broken.as_bytes()).await?, Loading::Refused(_)));
    ensure!(decision(&host, "who=nobody").await?.0 == 401, "the running build continues");
    let host = host.restart(Signal::KILL).await?;
    ensure!(decision(&host, "who=ada").await?.0 == 503, "nobody is admitted without the gatekeeper");
    ensure!(host.put_file("gate.ts", GATE.as_bytes()).await? == Loading::Done(1));
    ensure!(decision(&host, "who=nobody").await?.0 == 401);

    host.stop().await?;

    // A script that has never served is judged by its text.
    for (name, status) in [("gatekeeper", 503), ("channel", 400)] {
        let script = format!("import {{ {name} }} from \"bennu\";\nexport default {name}(;");
        let first = Setup::new().guests(&["echo"])?.file("plugins/new.ts", script.into()).start().await?;
        ensure!(decision(&first, "").await?.0 == status, "{name}");
        first.stop().await?;
    }
    Ok(())
}
