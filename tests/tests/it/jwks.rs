//! Keys of JSON Web Tokens from a URL: fetched at the start and again, from a server that fails, is slow, sends too much, or redirects.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Setup, TestHost, eventually, places};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// A server of keys. Its answer can be changed.
struct Provider {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The whole answer; `None` never answers.
    answer: Option<Vec<u8>>,
    /// The heads of all requests.
    requests: Vec<String>,
}

impl Provider {
    async fn start(answer: Option<Vec<u8>>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/keys.json?tenant=a", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State { answer, requests: Vec::new() }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let answer = {
                        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        state.requests.push(String::from_utf8_lossy(&head).into_owned());
                        state.answer.clone()
                    };
                    match answer {
                        Some(answer) => drop(stream.write_all(&answer).await),
                        // Until the client gives up.
                        None => drop(stream.read_buf(&mut head).await),
                    }
                });
            }
        });
        Ok(Self { url, state })
    }

    fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }

    fn change(&self, answer: Option<Vec<u8>>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).answer = answer;
    }

    /// Waits for this number of requests. The next one comes within a minute.
    async fn is_asked(&self, requests: usize) -> Result<()> {
        let waiting = async {
            while self.requests().len() < requests {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(150), waiting).await.with_context(|| format!("request {requests}"))
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Option<Vec<u8>> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}");
    Some(text.into_bytes())
}

fn keys() -> Result<std::path::PathBuf> {
    Ok(places::workspace()?.join("host/src/auth/testing/keys"))
}

/// A key set with the test's Ed25519 key under this name.
fn set(kid: &str) -> Result<Value> {
    let all: Value = serde_json::from_str(&fs::read_to_string(keys()?.join("jwks.json"))?)?;
    let key = all["keys"].as_array().context("keys")?.iter().find(|key| key["kid"] == "ed").context("a key")?;
    let mut key = key.clone();
    key["kid"] = kid.into();
    Ok(json!({ "keys": [key] }))
}

fn token(kid: &str) -> Result<String> {
    let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::EdDSA) };
    let claims = json!({ "sub": "ada", "exp": 4_000_000_000_u64 });
    Ok(encode(&header, &claims, &EncodingKey::from_ed_pem(&fs::read(keys()?.join("ed-private.pem"))?)?)?)
}

fn config(url: &str) -> String {
    format!("[mounts.\"/socket\"]\njwt = {{ jwks_url = \"{url}\" }}\n")
}

/// The status of a connect request with a token of this key: 101 if it is accepted.
async fn connect(host: &TestHost, kid: &str) -> Result<u16> {
    host.connect_request().query(&format!("vsn=2.0.0&token={}", token(kid)?)).status().await
}

#[tokio::test]
async fn keys_are_fetched_and_asked_for_at_most_once_a_minute() -> Result<()> {
    let provider = Provider::start(answer("200 OK", "etag: \"1\"\r\n", &set("first")?.to_string())).await?;
    let host = Setup::new().guests(&["echo"])?.config(&config(&provider.url)).start().await?;
    ensure!(connect(&host, "first").await? == 101, "the keys are there at the start");
    // A hundred tokens of unknown keys are refused at once, and cause no request within the first minute.
    for number in 0..100 {
        ensure!(connect(&host, &format!("unknown {number}")).await? == 403, "an unknown key");
    }
    let requests = provider.requests();
    ensure!(requests.len() == 1, "{requests:?}");
    ensure!(requests[0].starts_with("GET /keys.json?tenant=a HTTP/1.1\r\n"), "{requests:?}");
    ensure!(connect(&host, "first").await? == 101, "the known key is still valid");
    host.stop().await?;
    Ok(())
}

/// Takes two minutes, because the host asks a server that it has asked before at most once a minute.
#[tokio::test]
async fn the_keys_of_before_serve_while_the_provider_fails_until_it_has_new_ones() -> Result<()> {
    if !bennu_test_tiers::runs("jwks::the_keys_of_before_serve") {
        return Ok(());
    }
    let provider = Provider::start(answer("200 OK", "", &set("first")?.to_string())).await?;
    let host = Setup::new().guests(&["echo"])?.config(&config(&provider.url)).start().await?;
    ensure!(connect(&host, "first").await? == 101, "the keys are there at the start");
    // A token of a new key makes the host ask again. The provider fails.
    provider.change(answer("500 Oh no", "", ""));
    ensure!(connect(&host, "second").await? == 403, "the new key isn't known");
    provider.is_asked(2).await?;
    host.log().find(0, "a warning", |line| line.message().starts_with("the keys could not be fetched")).await?;
    ensure!(connect(&host, "first").await? == 101, "the key of before serves");
    ensure!(connect(&host, "second").await? == 403, "the new key isn't known yet");
    ensure!(host.inspect().await?["refused"]["keys_missing"] == 0, "nobody is refused for missing keys");
    // It asks again by itself, and gets in when the provider has the new key.
    provider.change(answer("200 OK", "", &set("second")?.to_string()));
    provider.is_asked(3).await?;
    eventually("the new key", async || Ok((connect(&host, "second").await? == 101).then_some(()))).await?;
    ensure!(connect(&host, "first").await? == 403, "the old key isn't in the set any more");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn without_keys_a_host_starts_and_its_mount_answers_503_until_they_are_there() -> Result<()> {
    let provider = Provider::start(answer("500 Oh no", "", "")).await?;
    let text = config(&provider.url) + "[mounts.\"/open\"]\nauth = \"none\"\n";
    let host = Setup::new().guests(&["echo"])?.config(&text).start().await?;
    host.log().find(0, "an error", |line| line.message().starts_with("the keys aren't there yet")).await?;
    ensure!(connect(&host, "first").await? == 503, "there are no keys");
    ensure!(host.inspect().await?["refused"]["keys_missing"] == 1, "it is counted");
    ensure!(host.connect_request().at("/open").connect().await.is_ok(), "other mounts don't need the keys");
    provider.change(answer("200 OK", "", &set("first")?.to_string()));
    eventually("the keys are there", async || Ok((connect(&host, "first").await? == 101).then_some(()))).await?;
    host.stop().await?;
    Ok(())
}

/// Each of these leaves the host without keys, and the log says why.
#[tokio::test]
async fn a_hostile_server_gives_no_keys() -> Result<()> {
    let big = format!("{{\"keys\":[],\"filler\":\"{}\"}}", "x".repeat(1 << 20));
    let shared = json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "b25seSBmb3IgdGVzdHMsIDMyIGJ5dGVzIG9yIG1vcmUu" }] });
    let elsewhere = "location: http://127.0.0.2:1/keys.json\r\n";
    let secure = "location: https://example.com/keys.json\r\n";
    for (what, answer, words) in [
        ("too large", answer("200 OK", "", &big), "1048576"),
        ("another address", answer("302 Found", elsewhere, ""), "redirects to http://127.0.0.2:1, which isn't granted"),
        ("another server", answer("302 Found", secure, ""), "isn't granted"),
        ("no set", answer("200 OK", "", "<html>"), "it is not a JWKS"),
        ("a secret", answer("200 OK", "", &shared.to_string()), "it has no public key"),
        ("not found", answer("404 Not Found", "", ""), "the server has answered 404"),
        ("not modified", answer("304 Not Modified", "", ""), "the server has answered 304"),
        ("not HTTP", Some(b"hello\r\n\r\n".to_vec()), "no HTTP answer"),
        ("silence", None, "the answer took more than 10000 ms"),
    ] {
        let provider = Provider::start(answer).await?;
        let host = Setup::new().guests(&["echo"])?.config(&config(&provider.url)).start().await?;
        let line = host.log().find(0, what, |line| line.message().starts_with("the keys could not be fetched")).await?;
        ensure!(line.message().contains(words) && line.field("url") == provider.url, "{what}: {}", line.text);
        ensure!(connect(&host, "first").await? == 503, "{what}");
        host.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_reload_needs_the_keys_of_a_new_url_and_keeps_those_of_a_known_one() -> Result<()> {
    let provider = Provider::start(answer("200 OK", "", &set("first")?.to_string())).await?;
    let broken = Provider::start(answer("500 Oh no", "", "")).await?;
    let host = Setup::new().guests(&["echo"])?.config(&config(&provider.url)).start().await?;
    let reload = async |text: &str| {
        let path = host.home().join("bennu.toml");
        let before = fs::read_to_string(&path)?;
        fs::write(&path, format!("{}\n{text}", before.lines().next().unwrap_or_default()))?;
        host.post("/api/config/reload", &json!({})).await
    };
    let refused = reload(&config(&broken.url)).await?;
    ensure!(refused.status == 422 && refused.body.contains("could not be fetched"), "{refused:?}");
    ensure!(connect(&host, "first").await? == 101, "the former keys are used");
    let same = reload(&format!("{}compress = true\n", config(&provider.url))).await?;
    ensure!(same.status == 200, "{same:?}");
    ensure!(connect(&host, "first").await? == 101 && provider.requests().len() == 1, "nothing was fetched again");
    // Another server with a newer key.
    let other = Provider::start(answer("200 OK", "", &set("second")?.to_string())).await?;
    let changed = reload(&config(&other.url)).await?;
    ensure!(changed.status == 200, "{changed:?}");
    ensure!(connect(&host, "second").await? == 101 && connect(&host, "first").await? == 403, "the new keys are used");
    host.stop().await?;
    Ok(())
}
