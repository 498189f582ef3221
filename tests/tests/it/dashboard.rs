//! The dashboard from outside: where it is, who may use it, and what it shows. `tests/browser/dashboard.test.mjs` uses its pages.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Answer, ConnectRequest, Received, Setup, TestClient, TestHost, bennu, eventually, request_with};
use serde_json::{Value, json};

/// A host with a dashboard, and the address of it.
struct Watched {
    host: TestHost,
    address: SocketAddr,
}

/// A session of a page.
struct Session {
    address: SocketAddr,
    origin: String,
    cookie: String,
}

impl Watched {
    async fn start(guests: &[&str], config: &str) -> Result<Self> {
        let config = format!("{config}\n[api]\nlisten = \"127.0.0.1:0\"\n");
        let host = Setup::new().guests(guests)?.config(&config).start().await?;
        let line = host.log().find(0, "the address", |line| line.message().starts_with("the API listens on")).await?;
        let address = line.message().rsplit('/').next().context("an address")?.parse()?;
        Ok(Self { host, address })
    }

    async fn page(&self, path: &str) -> Result<Answer> {
        request_with(self.address, "GET", path, &[], &[]).await
    }

    /// Tries to sign in, as the page does.
    async fn try_key(&self, key: &str) -> Result<Answer> {
        let origin = format!("http://{}", self.address);
        let headers = [("content-type", "application/json"), ("origin", &origin), ("sec-fetch-site", "same-origin")];
        let body = json!({ "key": key }).to_string();
        request_with(self.address, "POST", "/dashboard/session", &headers, body.as_bytes()).await
    }

    async fn sign_in(&self, key: &str) -> Result<Session> {
        let answer = self.try_key(key).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let set = answer.header("set-cookie").context("a cookie")?;
        let cookie = set.split(';').next().context("its value")?.to_owned();
        Ok(Session { address: self.address, origin: format!("http://{}", self.address), cookie })
    }

    /// A scrape's value of a limit.
    async fn hits(&self, limit: &str) -> Result<u64> {
        let key = format!("Bearer {}", self.host.api_key()?);
        let text = request_with(self.address, "GET", "/metrics", &[("authorization", &key)], &[]).await?.body;
        let line = text.lines().find(|line| line.starts_with(&format!("bennu_limit_hits_total{{limit=\"{limit}\"}}")));
        Ok(line.and_then(|line| line.rsplit(' ').next()).context("a count")?.parse::<f64>()? as u64)
    }
}

impl Session {
    /// Makes a call of the API with the cookie.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Result<Answer> {
        let mut all = vec![("cookie", self.cookie.as_str()), ("content-type", "application/json")];
        all.extend(headers);
        let body = if method == "GET" { String::new() } else { body.to_string() };
        request_with(self.address, method, path, &all, body.as_bytes()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let origin = self.origin.clone();
        self.ask("POST", path, &[("origin", &origin), ("sec-fetch-site", "same-origin")], body).await
    }

    fn socket(&self, mount: &str) -> ConnectRequest {
        let request = ConnectRequest::to(self.address).at(mount).header("cookie", &self.cookie);
        request.header("origin", &self.origin)
    }

    async fn watch(&self) -> Result<TestClient> {
        let mut client = self.socket("/dashboard/socket").connect().await?;
        client.join("dashboard", &json!({})).await?;
        Ok(client)
    }
}

/// Waits for a push of the dashboard in which something is.
async fn shows<T>(client: &mut TestClient, find: impl Fn(&Value) -> Option<T>) -> Result<T> {
    loop {
        match client.next().await? {
            Received::Json(frame) if frame[3] == "data" => {
                if let Some(found) = find(&frame[4]) {
                    return Ok(found);
                }
            }
            Received::Json(_) => {}
            other => anyhow::bail!("{other}"),
        }
    }
}

/// Says what the page looks at, without waiting for the answer.
async fn look(client: &mut TestClient, query: &Value) -> Result<()> {
    client.push("dashboard", "look", query).await.map(drop)
}

/// Makes a key with a scope. Returns the key, and its table.
fn new_key(name: &str, scope: &str, topic: &str) -> Result<(String, String)> {
    let arguments = ["key", "new", name, "--scope", scope, "--topic", topic];
    let ended = bennu(tempfile::tempdir()?.path(), &arguments)?;
    let (key, table) = ended.output.split_once("\n\n").context("a key and a table")?;
    Ok((key.to_owned(), table.to_owned()))
}

#[tokio::test]
async fn pages_are_only_at_the_address_of_the_api() -> Result<()> {
    let watched = Watched::start(&["echo"], "static = \"plugins\"\n").await?;
    for path in ["/dashboard", "/dashboard/", "/dashboard/app.mjs", "/dashboard/session"] {
        let answer = request_with(watched.host.address(), "GET", path, &[], &[]).await?;
        ensure!(answer.status == 404, "{path} at the clients' address: {answer:?}");
    }
    for mount in ["/dashboard/socket", "/dashboard/playground"] {
        let status = ConnectRequest::to(watched.host.address()).at(mount).refused().await?;
        ensure!(status == 404, "{mount} at the clients' address: {status}");
    }
    let answer = watched.page("/").await?;
    ensure!(answer.status == 303 && answer.header("location").as_deref() == Some("/dashboard"), "{answer:?}");
    let page = watched.page("/dashboard/").await?;
    ensure!(
        page.status == 200 && page.body.contains("<script type=\"module\" src=\"/dashboard/app.mjs\">"),
        "{page:?}"
    );
    let policy = page.header("content-security-policy").unwrap_or_default();
    for part in
        ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
    {
        ensure!(policy.split("; ").any(|directive| directive == part), "{policy}");
    }
    ensure!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in
        [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY")]
    {
        ensure!(page.header(name).as_deref() == Some(value), "{name}: {page:?}");
        ensure!(watched.page("/dashboard/session").await?.header(name).as_deref() == Some(value), "{name}");
    }
    let tag = page.header("etag").context("an ETag")?;
    let again = request_with(watched.address, "GET", "/dashboard/", &[("if-none-match", &tag)], &[]).await?;
    ensure!(again.status == 304 && again.body.is_empty(), "{again:?}");
    // A host without an address of its own for the API has no dashboard at all.
    let host = TestHost::start(&["echo"]).await?;
    ensure!(request_with(host.address(), "GET", "/dashboard/", &[], &[]).await?.status == 404, "there is none");
    Ok(())
}

#[tokio::test]
async fn a_session_begins_with_a_key_and_ends_when_it_is_signed_out() -> Result<()> {
    let watched = Watched::start(&["echo"], "").await?;
    let key = watched.host.api_key()?;
    for wrong in ["", "wrong"] {
        let answer = watched.try_key(wrong).await?;
        ensure!(answer.status == 401 && answer.header("set-cookie").is_none(), "{answer:?}");
    }
    let answer = watched.try_key(&key).await?;
    let set = answer.header("set-cookie").context("a cookie")?;
    for part in ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=43200"] {
        ensure!(set.split("; ").any(|other| other == part), "{set}");
    }
    ensure!(answer.json()?["session"]["may_operate"] == true && !answer.body.contains(&key), "{answer:?}");

    let session = watched.sign_in(&key).await?;
    let own = ("sec-fetch-site", "same-origin");
    ensure!(session.ask("GET", "/api/plugins", &[own], &Value::Null).await?.status == 200, "a read");
    ensure!(session.post("/api/config/reload", &json!({ "dry_run": true })).await?.status != 403, "a change");
    for foreign in ["same-site", "cross-site"] {
        let answer = session.ask("GET", "/api/plugins", &[("sec-fetch-site", foreign)], &Value::Null).await?;
        ensure!(answer.status == 403, "a page of another origin: {answer:?}");
    }
    let other = format!("http://{}", watched.host.address());
    for headers in [&[][..], &[("origin", other.as_str())], &[("origin", "null")]] {
        let answer = session.ask("POST", "/api/disconnect", headers, &json!({ "id": "a" })).await?;
        ensure!(answer.status == 403, "{headers:?}: {answer:?}");
        let refused = ConnectRequest::to(watched.address).at("/dashboard/socket").header("cookie", &session.cookie);
        let refused = headers.iter().fold(refused, |request, (name, value)| request.header(name, value));
        ensure!(refused.refused().await? == 403, "{headers:?}");
    }
    let no_cookie = ConnectRequest::to(watched.address).at("/dashboard/socket").header("origin", &session.origin);
    ensure!(no_cookie.refused().await? == 401, "a socket without a session");

    let mut page = session.watch().await?;
    let headers = [("cookie", session.cookie.as_str()), ("origin", session.origin.as_str())];
    let answer = request_with(watched.address, "DELETE", "/dashboard/session", &headers, &[]).await?;
    ensure!(
        answer.status == 204 && answer.header("set-cookie").is_some_and(|set| set.contains("Max-Age=0")),
        "{answer:?}"
    );
    ensure!(page.until_closed().await?.1 == Some(1001), "its sockets are closed");
    ensure!(session.ask("GET", "/api/plugins", &[own], &Value::Null).await?.status == 401, "it is over");
    ensure!(session.socket("/dashboard/socket").refused().await? == 401, "it is over");
    let log = watched.host.stop().await?.tail(100_000);
    ensure!(
        log.contains("a session of the dashboard begins") && log.contains("a session of the dashboard ends"),
        "{log}"
    );
    ensure!(!log.contains(&key), "the key is in the log");
    Ok(())
}

#[tokio::test]
async fn a_key_may_do_in_a_session_what_its_scopes_allow() -> Result<()> {
    let (reads, first) = new_key("reads", "read", "*")?;
    let (sends, second) = new_key("sends", "send", "*")?;
    let (narrow, third) = new_key("narrow", "read", "room:*")?;
    let watched = Watched::start(&["echo"], &format!("[limits]\n{first}\n{second}\n{third}")).await?;
    for key in [sends, narrow] {
        let answer = watched.try_key(&key).await?;
        ensure!(answer.status == 403 && answer.body.contains("for all topics"), "{answer:?}");
    }
    let session = watched.sign_in(&reads).await?;
    let mut page = session.watch().await?;
    shows(&mut page, |data| data["counts"]["sockets"].as_u64()).await?;
    for path in ["/api/plugins/echo/reload", "/api/disconnect", "/api/kick"] {
        let answer = session.post(path, &json!({ "id": "a", "socket_id": "a" })).await?;
        ensure!(answer.status == 403 && answer.body.contains("missing_scope"), "{path}: {answer:?}");
    }
    let rows = session.ask("GET", "/api/store/rows?plugin=echo", &[], &Value::Null).await?;
    ensure!(rows.status == 403, "{rows:?}");
    ensure!(session.socket("/dashboard/playground").refused().await? == 403, "the playground needs `operate`");

    // The key is removed.
    let path = watched.host.home().join("bennu.toml");
    let text = fs::read_to_string(&path)?.replace(&first, "");
    fs::write(&path, text)?;
    let address = watched.address.to_string();
    let reloaded = bennu(watched.host.home(), &["config", "reload", "--host", &address])?;
    ensure!(reloaded.code == Some(0), "{reloaded:?}");
    ensure!(page.until_closed().await?.1 == Some(1001), "its sockets are closed");
    ensure!(watched.try_key(&reads).await?.status == 401, "it isn't valid any more");
    Ok(())
}

#[tokio::test]
async fn wrong_keys_sessions_and_pages_are_limited() -> Result<()> {
    let watched = Watched::start(&["echo"], "").await?;
    let key = watched.host.api_key()?;
    let first = watched.sign_in(&key).await?;
    let mut pages = Vec::new();
    for _ in 0..64 {
        pages.push(first.socket("/dashboard/socket").connect().await?);
    }
    ensure!(first.socket("/dashboard/socket").refused().await? == 503, "there are too many pages");
    ensure!(watched.hits("dashboard_sockets").await? == 1, "it is counted");
    drop(pages);
    for _ in 0..32 {
        watched.sign_in(&key).await?;
    }
    ensure!(first.ask("GET", "/api/plugins", &[], &Value::Null).await?.status == 401, "the oldest one has made room");
    ensure!(watched.hits("dashboard_sessions").await? == 1, "it is counted");
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(watched.try_key("wrong").await?.status);
    }
    ensure!(statuses[..10].iter().all(|status| *status == 401) && statuses[10..] == [429, 429], "{statuses:?}");
    let right = watched.try_key(&key).await?;
    ensure!(right.status == 429 && right.header("retry-after").is_some(), "{right:?}");
    ensure!(watched.hits("sign_ins").await? == 3, "they are counted");
    Ok(())
}

#[tokio::test]
async fn a_page_sees_topics_members_plugins_and_faults() -> Result<()> {
    let watched = Watched::start(&["naughty"], "").await?;
    let session = watched.sign_in(&watched.host.api_key()?).await?;
    let mut page = session.watch().await?;
    let mut member = watched.host.connect().await?;
    member.join("naughty:one", &json!({})).await?;
    let mut other = watched.host.connect().await?;
    other.join("naughty:two", &json!({})).await?;
    shows(&mut page, |data| (data["counts"]["sockets"] == 2).then_some(())).await?;

    look(&mut page, &json!({ "view": "topics", "search": "ONE" })).await?;
    let topics = shows(&mut page, |data| data["data"]["topics"].as_array().cloned()).await?;
    ensure!(topics == [json!({ "topic": "naughty:one", "members": 1, "plugin": "naughty" })], "{topics:?}");
    look(&mut page, &json!({ "view": "topic", "topic": "naughty:one" })).await?;
    let topic = shows(&mut page, |data| data["data"].get("people").map(|_| data["data"].clone())).await?;
    ensure!(topic["members"] == 1 && topic["plugin"] == "naughty" && topic["generation"] == 1, "{topic}");
    let number = topic["people"][0]["member"].clone();
    let kicked = session.post("/api/kick", &json!({ "topic": "naughty:one", "member": number })).await?;
    ensure!(kicked.json()?["members"] == 1, "{kicked:?}");
    shows(&mut page, |data| (data["data"]["members"] == 0).then_some(())).await?;

    other.push("naughty:two", "panic", &json!({})).await?;
    look(&mut page, &json!({ "view": "faults" })).await?;
    let fault = shows(&mut page, |data| data["data"]["faults"].get(0).cloned()).await?;
    ensure!(fault["plugin"] == "naughty" && fault["callback"] == "handle_in" && fault["kind"] == "trap", "{fault}");
    ensure!(fault["topic"] == "naughty:two" && fault["count"] == 1 && fault["event"] == "panic", "{fault}");

    look(&mut page, &json!({ "view": "plugins" })).await?;
    let plugin = shows(&mut page, |data| data["data"]["plugins"].get("naughty").cloned()).await?;
    ensure!(plugin["generation"] == 1 && plugin["loads"]["published"] == 1, "{plugin}");
    for view in ["overview", "rooms", "store"] {
        look(&mut page, &json!({ "view": view })).await?;
        shows(&mut page, |data| (data["look"]["view"] == view && data["data"].is_object()).then_some(())).await?;
    }
    look(&mut page, &json!({ "view": "nothing" })).await?;
    let answer = loop {
        let frame = page.json().await?;
        if frame[3] == "phx_reply" && frame[4]["status"] == "error" {
            break frame;
        }
    };
    ensure!(answer[4]["response"]["reason"].as_str().is_some_and(|why| why.contains("unknown variant")), "{answer}");
    Ok(())
}

#[tokio::test]
async fn the_playground_is_a_client_of_the_host_and_is_logged() -> Result<()> {
    let watched = Watched::start(&["naughty"], "").await?;
    let session = watched.sign_in(&watched.host.api_key()?).await?;
    let request = session.socket("/dashboard/playground");
    let mut client =
        request.query("vsn=2.0.0&playground_user=ada&playground_claims={%22role%22:%22x%22}").connect().await?;
    client.join("naughty:one", &json!({})).await?;
    let facts = client.call("naughty:one", "facts", &json!({})).await?;
    ensure!(facts["user"] == "ada" && facts["claims"]["role"] == "x", "{facts}");
    let line =
        watched.host.log().find(0, "the log says so", |line| line.message().contains("playground connects")).await?;
    ensure!(line.text.contains("ada") && line.text.contains("api.key"), "{}", line.text);
    let mut page = session.watch().await?;
    shows(&mut page, |data| (data["counts"]["sockets"] == 1).then_some(())).await?;
    let origin = session.origin.as_str();
    request_with(
        watched.address,
        "DELETE",
        "/dashboard/session",
        &[("cookie", &session.cookie), ("origin", origin)],
        &[],
    )
    .await?;
    ensure!(client.until_closed().await?.1 == Some(1001), "it ends with the session");
    Ok(())
}

/// While no page is open, the dashboard's channel has no timer and calls nothing.
#[tokio::test]
async fn a_closed_page_is_forgotten() -> Result<()> {
    let watched = Watched::start(&["echo"], "").await?;
    let session = watched.sign_in(&watched.host.api_key()?).await?;
    for _ in 0..70 {
        let page = session.watch().await?;
        page.close().await?;
    }
    // Each of them would count for the limit of pages otherwise.
    let mut page = eventually("a place is free", async || Ok(session.watch().await.ok())).await?;
    shows(&mut page, |data| data["counts"]["memory_bytes"].as_u64()).await?;
    watched.host.stop().await?;
    Ok(())
}
