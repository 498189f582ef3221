//! Several API keys with scopes and topics: what each call needs, and what `bennu key new` prints.

use anyhow::{Context, Result, ensure};
use bennu_tests::{Answer, Setup, TestHost, bennu, request_with};
use serde_json::{Value, json};

/// Makes a key by the command. Returns the key, and its table for the configuration.
fn new_key(name: &str, scopes: &[&str], topics: &[&str]) -> Result<(String, String)> {
    let mut arguments = vec!["key", "new", name];
    scopes.iter().for_each(|scope| arguments.extend(["--scope", scope]));
    topics.iter().for_each(|topic| arguments.extend(["--topic", topic]));
    let ended = bennu(tempfile::tempdir()?.path(), &arguments)?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let (key, table) = ended.output.split_once("\n\n").context("a key and a table")?;
    Ok((key.to_owned(), table.to_owned()))
}

/// Makes a call with a key.
async fn ask(host: &TestHost, key: &str, method: &str, path: &str, body: &Value) -> Result<Answer> {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let body = if method == "POST" { body.to_string() } else { String::new() };
    request_with(host.address(), method, path, &headers, body.as_bytes()).await
}

/// The code of an error.
fn code(answer: &Answer) -> Result<String> {
    Ok(answer.json()?["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// Makes every call of the description, with a key that has only its scope, a key that has all others, and a key with the scope
/// for other topics.
#[tokio::test]
async fn every_call_needs_the_scope_that_its_description_names() -> Result<()> {
    const SCOPES: [&str; 4] = ["broadcast", "send", "read", "operate"];
    let mut config = String::new();
    let mut key = |name: &str, scopes: &[&str], topics: &[&str]| {
        let (key, table) = new_key(name, scopes, topics)?;
        config += &format!("{table}\n");
        anyhow::Ok(key)
    };
    let mut keys = Vec::new();
    for scope in SCOPES {
        let others: Vec<&str> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        let only = key(&format!("only {scope}"), &[scope], &[])?;
        let without = key(&format!("without {scope}"), &others, &[])?;
        let elsewhere = key(&format!("{scope} elsewhere"), &[scope], &["elsewhere:*"])?;
        keys.push((scope, only, without, elsewhere));
    }
    let host = Setup::new().guests(&["naughty"])?.config(&config).start().await?;
    let described: Value = serde_json::from_str(include_str!("../../../host/src/api/openapi.json"))?;
    let (mut seen, mut refused) = (0, 0_u64);
    for (path, methods) in described["paths"].as_object().context("paths")? {
        for (method, call) in methods.as_object().context("methods")? {
            let method = method.to_uppercase();
            let filled = path.replace("{topic}", "naughty%3A1").replace("{name}", "naughty");
            let filled = if path == "/api/events" { format!("{filled}?topic=naughty:*") } else { filled };
            let body = match path.as_str() {
                "/api/disconnect" => json!({ "id": "user:1" }),
                "/api/config/reload" => json!({ "dry_run": true }),
                "/api/push" | "/api/send-member" => json!({ "topic": "naughty:1", "member": 1, "event": "e" }),
                "/api/kick" => json!({ "topic": "naughty:1", "member": 99 }),
                _ => json!({ "topic": "naughty:1", "event": "echo", "payload": {} }),
            };
            seen += 1;
            let Some(scope) = call["security"][0]["key"][0].as_str() else {
                ensure!(path == "/api/openapi.json", "{method} {path} names no scope");
                for (_, only, ..) in &keys {
                    ensure!(ask(&host, only, "GET", path, &body).await?.status == 200, "every key may read {path}");
                }
                continue;
            };
            let (_, only, without, elsewhere) =
                keys.iter().find(|(name, ..)| *name == scope).with_context(|| format!("an unknown scope: {scope}"))?;
            let place = format!("{method} {path}");
            let answer = ask(&host, without, &method, &filled, &body).await?;
            ensure!(answer.status == 403 && code(&answer)? == "missing_scope", "{place}: {answer:?}");
            ensure!(answer.body.contains(&format!("needs the scope `{scope}`")), "{place}: {answer:?}");
            let answer = ask(&host, elsewhere, &method, &filled, &body).await?;
            ensure!(answer.status == 403 && code(&answer)? == "topic_not_allowed", "{place}: {answer:?}");
            ensure!(answer.body.contains("`elsewhere:*`"), "{place}: {answer:?}");
            refused += 2;
            // The stream of events doesn't end.
            if path != "/api/events" {
                let answer = ask(&host, only, &method, &filled, &body).await?;
                ensure!(answer.status != 401 && answer.status != 403, "{place}: {answer:?}");
            }
        }
    }
    let (_, read, without, elsewhere) = keys.iter().find(|(name, ..)| *name == "read").context("read")?;
    for (key, status) in [(read, 200), (without, 403), (elsewhere, 403)] {
        let answer = ask(&host, key, "GET", "/metrics", &json!({})).await?;
        ensure!(answer.status == status, "/metrics: {answer:?}");
        refused += u64::from(status == 403);
    }
    ensure!(seen > 10, "{seen} calls");
    let counted = host.inspect().await?["refused"]["api_scope"].clone();
    ensure!(counted == refused, "{counted} of {refused} were counted");
    let log = host.stop().await?.tail(1_000_000);
    ensure!(log.contains("an operator's call") && !log.contains("bennu_"), "the log has ids of keys, and no key");
    Ok(())
}

#[tokio::test]
async fn topics_of_a_key_apply_to_every_topic_of_a_request() -> Result<()> {
    let (key, table) = new_key("web", &["broadcast", "read"], &["room:*", "lobby"])?;
    let host = Setup::new().guests(&["echo"])?.config(&table).start().await?;
    let message = |topic: &str| json!({ "topic": topic, "event": "e" });
    for (topics, status) in
        [(&["room:1", "lobby"][..], 200), (&["room:1", "other"], 403), (&["lobby2"], 403), (&["room:"], 200)]
    {
        let body = json!({ "messages": topics.iter().map(|topic| message(topic)).collect::<Vec<_>>() });
        let answer = ask(&host, &key, "POST", "/api/broadcast", &body).await?;
        ensure!(answer.status == status, "{topics:?}: {answer:?}");
    }
    for (path, status) in [
        ("/api/topics?prefix=room:", 200),
        ("/api/topics?prefix=room:1", 200),
        ("/api/topics?prefix=room", 403),
        ("/api/topics", 403),
        ("/api/topics/lobby", 200),
        ("/api/topics/room%3A1", 200),
        ("/api/topics/other", 403),
        ("/api/events?topic=room:*&topic=other", 403),
        ("/api/events?topic=*", 403),
    ] {
        let answer = ask(&host, &key, "GET", path, &json!({})).await?;
        ensure!(answer.status == status, "{path}: {answer:?}");
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_key_in_the_configuration_is_refused_and_never_shown() -> Result<()> {
    let (key, table) = new_key("web", &["send"], &[])?;
    let home = tempfile::tempdir()?;
    std::fs::create_dir(home.path().join("plugins"))?;
    let hash = table.lines().find_map(|line| line.strip_prefix("hash = ")).context("a hash")?;
    for text in [table.replace(hash, &format!("\"{key}\"")), format!("{table}key = \"{key}\""), format!("[api]\n{key}")]
    {
        std::fs::write(home.path().join("bennu.toml"), &text)?;
        let ended = bennu(home.path(), &["serve", "plugins", "--config", "bennu.toml", "--check"])?;
        let secret = key.splitn(3, '_').nth(2).context("a secret")?;
        ensure!(ended.code == Some(1) && !ended.errors.contains(&secret[..10]), "{ended:?}");
    }
    Ok(())
}

#[test]
fn the_flags_of_a_key_are_checked() -> Result<()> {
    let home = tempfile::tempdir()?;
    for (arguments, words) in [
        (&["key", "new", "web"][..], "--scope"),
        (&["key", "new", "web", "--scope", "write"], "`broadcast`, `send`, `read` and `operate`"),
        (&["key", "new", "web", "--scope", "read", "--topic", "a*b"], "a star may stand only at the end"),
        (&["key", "new", "", "--scope", "read"], "the name of a key is empty"),
    ] {
        let ended = bennu(home.path(), arguments)?;
        ensure!(ended.code != Some(0) && ended.errors.contains(words) && ended.output.is_empty(), "{ended:?}");
    }
    Ok(())
}
