//! Webhooks of the configuration, and the code of docs/http.md and docs/web-application.md for web applications.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu_tests::{Delivered, Receiver, Setup, TestHost, eventually};
use serde_json::{Value, json};

use crate::documents;

/// A host with `naughty`, whose topics are told to a receiver.
fn setup(receiver: &Receiver, further: &str) -> Result<Setup> {
    let config = format!(
        "[[webhooks]]\nurl = \"{}\"\ntopics = [\"naughty:*\"]\nsecrets = [{{ env = \"TEST_SECRET\" }}]\n{further}\n",
        receiver.url("/hook")
    );
    let secret = secret();
    Ok(Setup::new().guests(&["naughty"])?.config(&config).variable("TEST_SECRET", &secret))
}

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode([3; 32]))
}

fn content(delivered: &Delivered) -> Result<Value> {
    serde_json::from_slice(&delivered.body).with_context(|| format!("{delivered:?}"))
}

async fn told(receiver: &Receiver, count: usize) -> Result<Vec<(String, Value)>> {
    let received = receiver.has_received(count).await?;
    let read = |delivered: &Delivered| {
        let content = content(delivered)?;
        ensure!(content["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{content}");
        Ok((content["type"].as_str().unwrap_or_default().to_owned(), content["data"].clone()))
    };
    received.iter().map(read).collect()
}

async fn say(host: &TestHost, topic: &str) -> Result<u64> {
    let mut client = host.connect().await?;
    let member = client.join(topic, &json!({})).await?["member"].as_u64().context("a member")?;
    client.push(topic, "broadcast", &json!({ "event": "said", "payload": { "n": 1 } })).await?;
    // The broadcast, and the reply.
    for _ in 0..2 {
        client.json().await?;
    }
    Ok(member)
}

#[tokio::test]
async fn a_webhook_gets_the_events_of_its_topics() -> Result<()> {
    let mut receiver = Receiver::open().await?;
    let host = setup(&receiver, "")?.start().await?;
    ensure!(told(&receiver, 1).await? == [("start".to_owned(), json!({}))]);
    // While the receiver is down, and the host is restarted, nothing is lost.
    receiver.go_down();
    let member = say(&host, "naughty:1").await?;
    host.shows("the events are stored", |shown| shown["deliveries"]["all"].as_u64() >= Some(3)).await?;
    let host = host.restart(rustix::process::Signal::KILL).await?;
    receiver.come_up().await?;
    let is_start = |(kind, _): &(String, Value)| kind == "start";
    let all = eventually("the second start is told", async || {
        let all = told(&receiver, 4).await?;
        Ok((all.iter().filter(|event| is_start(event)).count() == 2).then_some(all))
    });
    let all = all.await?;
    let of_topic: Vec<_> = all.iter().filter(|(_, data)| data["topic"] == "naughty:1").collect();
    let kinds: Vec<_> = of_topic.iter().map(|(kind, _)| kind.as_str()).collect();
    ensure!(kinds.starts_with(&["join", "broadcast"]), "{all:?}");
    ensure!(of_topic[1].1["event"] == "said" && of_topic[1].1["payload"] == json!({ "n": 1 }), "{all:?}");
    ensure!(of_topic[0].1["member"] == member && of_topic[0].1["user"].is_null(), "{all:?}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_webhook_gets_only_the_events_that_it_wants() -> Result<()> {
    let receiver = Receiver::open().await?;
    let host = setup(&receiver, "events = [\"broadcast\"]")?.start().await?;
    say(&host, "naughty:1").await?;
    let all = told(&receiver, 2).await?;
    let kinds: Vec<_> = all.iter().map(|(kind, _)| kind.as_str()).collect();
    ensure!(kinds.contains(&"broadcast") && !kinds.contains(&"join"), "{all:?}");
    host.stop().await?;
    Ok(())
}

/// The code block of a page in a language, which has a function.
fn block(document: &str, language: &str, function: &str) -> Result<String> {
    let (page, start) = (documents::read(document)?, format!("```{language}\n"));
    let mut blocks = page.split(&start).skip(1).filter_map(|rest| rest.split("```").next());
    let found = blocks.find(|block| block.contains(&format!("{function}("))).map(str::to_owned);
    found.with_context(|| format!("docs/{document} has no `{function}` in {language}"))
}

/// Runs a program, and returns what it prints.
fn run(home: &Path, program: &str, file: &str, text: &str) -> Result<String> {
    fs::write(home.join(file), text)?;
    let output = Command::new(program).arg(file).current_dir(home).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("starting {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The receivers of the guide accept what a host sends, and nothing else.
#[tokio::test]
async fn the_receivers_of_the_guide_verify_signatures() -> Result<()> {
    let receiver = Receiver::open().await?;
    let host = setup(&receiver, "")?.start().await?;
    let webhook = receiver.has_received(1).await?.remove(0);
    host.stop().await?;
    let (headers, body) = (serde_json::to_string(&webhook.headers)?, serde_json::to_string(&webhook.text())?);
    let (home, secret) = (tempfile::tempdir()?, serde_json::to_string(&secret())?);
    let node = format!(
        "{}\nconst [headers, body, secret] = [{headers}, {body}, {secret}];\n\
         console.log(verified(headers, body, secret) === body, verified(headers, body + \" \", secret), \
         verified(headers, body, secret, Date.now() / 1000 + 301), verified({{}}, body, secret));\n",
        block("http.md", "js", "verified")?
    );
    ensure!(run(home.path(), "node", "receiver.mjs", &node)? == "true null null null\n");
    let python = format!(
        "{}\nheaders, body, secret = {headers}, {body}.encode(), {secret}\n\
         print(verified(headers, body, secret) == body, verified(headers, body + b\" \", secret), \
         verified(headers, body, secret, time.time() + 301), verified({{}}, body, secret))\n",
        block("http.md", "python", "verified")?
    );
    ensure!(run(home.path(), "python3", "receiver.py", &python)? == "True None None None\n");
    Ok(())
}

/// The tokens and the messages of the guide work with a host. A message that is sent again is handled once.
#[tokio::test]
async fn the_code_of_the_guide_signs_tokens_and_sends_each_message_once() -> Result<()> {
    let secret = "a secret of at least thirty-two bytes";
    let config = "[mounts.\"/socket\".jwt]\nsecret = { env = \"JWT_SECRET\" }\n";
    let host = Setup::new().guests(&["naughty"])?.config(config).variable("JWT_SECRET", secret).start().await?;
    let (home, bennu, key) = (tempfile::tempdir()?, format!("http://{}", host.address()), host.api_key()?);
    let node = format!(
        "{}\n{}\nconsole.log(tokenFor(\"ada\", \"{secret}\"));\n\
         const send = async (event, payload, once) => console.log(JSON.stringify(\
         await tell(\"naughty:1\", event, payload, {{ bennu: \"{bennu}\", key: \"{key}\", once }})));\n",
        block("web-application.md", "js", "tokenFor")?,
        block("web-application.md", "js", "tell")?
    );
    let python = format!(
        "{}\n{}\nprint(token_for(\"ada\", \"{secret}\"))\n\
         def send(event, payload, once):\n    \
         print(json.dumps(tell(\"naughty:1\", event, payload, \"{bennu}\", \"{key}\", once)))\n",
        block("web-application.md", "python", "token_for")?,
        block("web-application.md", "python", "tell")?
    );
    for (program, wait, file, text) in [("node", "await ", "page.mjs", node), ("python3", "", "page.py", python)] {
        // The program asks the host meanwhile, which is another process. The second message is sent twice.
        let calls = [("echo", "[1]", 1), ("count", "COUNTER", 2), ("count", "COUNTER", 2), ("count", "COUNTER", 3)];
        let counter = format!("{{\"key\": \"{program}\"}}");
        let call = |(event, payload, once): &(&str, &str, u8)| {
            format!("{wait}send(\"{event}\", {}, \"{program}-{once}\")\n", payload.replace("COUNTER", &counter))
        };
        let printed = run(home.path(), program, file, &(text + &calls.iter().map(call).collect::<String>()))?;
        let (token, answers) = printed.trim().split_once('\n').with_context(|| printed.clone())?;
        let responses = answers.lines().map(|answer| Ok(serde_json::from_str::<Value>(answer)?["response"].clone()));
        let responses = responses.collect::<Result<Vec<_>>>()?;
        let counted = |count: u8| json!({ "count": count });
        ensure!(responses == [json!([1]), counted(1), counted(1), counted(2)], "{program}: {responses:?}");
        let mut client = host.connect_request().query(&format!("vsn=2.0.0&token={token}")).connect().await?;
        client.join("naughty:1", &json!({})).await?;
        let facts = client.call("naughty:1", "facts", &json!({})).await?;
        ensure!(facts["user"] == "ada", "{program}: {facts}");
    }
    ensure!(host.connect().await.is_err(), "a client without a token is let in");
    host.stop().await?;
    Ok(())
}
