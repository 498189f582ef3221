//! Servers that misbehave: what becomes of a request to each of them, and that they don't slow other plugins down. Names that resolve to
//! other addresses, and invalid certificates, are in the tests of `outbound`, which can present any address and certificate.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{Setup, TestHost};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{TOPIC, join};
use crate::client_limits::percentile;

/// What the server does, by the path of the request, with the kind of the failure.
const OUTCOMES: [(&str, &str); 9] = [
    ("never-answers", "timeout"),
    ("a-byte-at-a-time", "timeout"),
    ("to-the-metadata", "redirect"),
    ("ten-gigabytes", "too-large"),
    ("chunks-without-end", "too-large"),
    ("a-bomb", "too-large"),
    ("headers-without-end", "too-large"),
    ("closes-half-way", "broken"),
    ("no-http", "broken"),
];

/// The same for a request over TLS, which this server doesn't know.
const TLS_OUTCOME: &str = "unreachable";

/// The first byte of a connection with TLS.
const TLS_HANDSHAKE: u8 = 22;

/// The time after which a server is too slow, in milliseconds: for those that are, and for the others. A slow machine needs time for those.
const SLOW_MS: u64 = 500;
const PATIENT_MS: u64 = 60_000;

struct HostileServer {
    port: u16,
    accepting: JoinHandle<()>,
}

impl HostileServer {
    async fn open() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let bomb = Arc::new(bomb()?);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let bomb = Arc::clone(&bomb);
                // The host closes the connection as soon as it has seen enough.
                connections.spawn(async move { drop(misbehave(stream, &bomb).await) });
            }
        });
        Ok(Self { port, accepting })
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// A URL for which it has no certificate.
    fn secure_url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    /// A host with `naughty`, which may ask this server and waits so long for an answer, and a neighbour.
    fn setup(&self, wait_ms: u64) -> Result<Setup> {
        let config = format!(
            "[limits]\ncall_wall_ms = 120000\nhttp_get_ms = {wait_ms}\nhttp_ms = {wait_ms}\nhttp_delivery_ms = {wait_ms}\n\
             [plugins.naughty]\nhttp = [\"{}\", \"https://127.0.0.1:{}/*\"]\n",
            self.url("*"),
            self.port
        );
        Ok(Setup::new().guests(&["naughty", "echo"])?.config(&config))
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// 4 MiB that were compressed to 4 KiB.
fn bomb() -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 4 << 20])?;
    Ok(encoder.finish()?)
}

async fn misbehave(mut stream: TcpStream, bomb: &[u8]) -> std::io::Result<()> {
    let mut head = vec![stream.read_u8().await?];
    if head == [TLS_HANDSHAKE] {
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    }
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (start, then, pause): (&str, Vec<u8>, _) = match head.split(['/', ' ']).nth(2).unwrap_or_default() {
        "a-byte-at-a-time" => ("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", vec![b'x'], 20),
        "to-the-metadata" => {
            let location = "http://169.254.169.254/latest/meta-data/";
            let head = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            return stream.write_all(head.as_bytes()).await;
        }
        "ten-gigabytes" => ("HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n", vec![b'x'; 65_536], 0),
        "chunks-without-end" => {
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65_536], b"\r\n"].concat();
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunk, 0)
        }
        "a-bomb" => {
            let length = bomb.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n").into_bytes();
            return stream.write_all(&[&head, bomb].concat()).await;
        }
        "headers-without-end" => ("HTTP/1.1 200 OK\r\n", b"x: yyyyyyyyyyyyyyyyyyyy\r\n".repeat(100), 0),
        "closes-half-way" => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf").await,
        "no-http" => return stream.write_all(b"220 mail.example ESMTP ready\r\n\r\n").await,
        _ => return std::future::pending().await,
    };
    stream.write_all(start.as_bytes()).await?;
    loop {
        stream.write_all(&then).await?;
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// Each way to ask says what the server did, and a delivery is kept.
#[tokio::test]
async fn each_hostile_server_has_an_outcome() -> Result<()> {
    let server = HostileServer::open().await?;
    let over_http = OUTCOMES.map(|(path, kind)| (server.url(path), kind)).into_iter();
    let all = over_http.chain([(server.secure_url(), TLS_OUTCOME)]);
    let (slow, others): (Vec<_>, Vec<_>) = all.partition(|(_, kind)| *kind == "timeout");
    have_outcomes(server.setup(SLOW_MS)?.start().await?, slow).await?;
    have_outcomes(server.setup(PATIENT_MS)?.start().await?, others).await
}

/// Asks each of these URLs in each way, and stops the host.
async fn have_outcomes(host: TestHost, outcomes: Vec<(String, &str)>) -> Result<()> {
    let (mut ada, all) = (join(&host).await?, outcomes.len());
    for (url, kind) in outcomes {
        let got = ada.call(TOPIC, "http_get", &json!({ "url": url })).await?;
        ensure!(got == json!({ "failure": kind }), "{url}: {got}");
        ada.call(TOPIC, "http_send", &json!({ "url": url, "method": "POST", "body": "x" })).await?;
        let answer = ada.json().await?;
        // A POST isn't redirected, so the redirect itself is the answer.
        let expected =
            if kind == "redirect" { json!({ "status": 302, "body": "" }) } else { json!({ "failure": kind }) };
        ensure!(answer[3] == "http_answer" && answer[4] == expected, "{url}: {answer}");
        let wanted = json!({ "url": url, "expires_ms": 1, "on_failure": "undelivered" });
        ada.call(TOPIC, "deliver", &wanted).await?;
        let told = ada.json().await?;
        let reason = told[4]["reason"].as_str().unwrap_or_default().to_owned();
        let expected = if kind == "redirect" { "status 302".to_owned() } else { format!("{kind}: ") };
        ensure!(told[3] == "undelivered" && reason.starts_with(&expected), "{url}: {told}");
    }
    let shown = host.inspect().await?;
    ensure!(shown["http"]["under_way"] == 0 && shown["deliveries"]["given_up"] == all, "{shown}");
    drop(ada);
    host.stop().await?;
    Ok(())
}

/// Members of a plugin ask such servers in each way, all the time. A neighbour gets all its answers. Notes how much longer they take:
/// the ratio of the 99th percentiles, in seven rounds.
#[tokio::test]
async fn hostile_servers_do_not_slow_a_neighbour_down() -> Result<()> {
    if !bennu_test_tiers::runs("http::hostile_servers_do_not_slow_a_neighbour_down") {
        return Ok(());
    }
    let server = Arc::new(HostileServer::open().await?);
    let host = Arc::new(server.setup(SLOW_MS)?.start().await?);
    let mut neighbours = Vec::new();
    for _ in 0..20 {
        let mut neighbour = host.connect().await?;
        neighbour.join("echo:neighbour", &json!({})).await?;
        neighbours.push(neighbour);
    }
    let mut ratios = Vec::new();
    for _ in 0..7 {
        let alone = percentile(&mut neighbours).await?;
        let before = host.inspect().await?;
        let mut askers = askers(&server, &host);
        let beside = percentile(&mut neighbours).await?;
        // Each kind of server has answered while they are measured, or soon after, on a slow machine.
        host.shows("each way to ask has failed for each reason", |shown| all_have_failed(&before, shown)).await?;
        if let Some(ended) = askers.try_join_next() {
            ended??;
            bail!("an asker has ended");
        }
        askers.shutdown().await;
        ratios.push(beside.as_secs_f64() / alone.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    let shown = host.inspect().await?;
    bennu_test_tiers::note_figures(&format!(
        "the 99th percentiles beside hostile servers have the ratios {ratios:.2?}; {}; {}",
        shown["http"], shown["deliveries"]
    ));
    drop(neighbours);
    Arc::into_inner(host).context("an asker has the host")?.stop().await?;
    Ok(())
}

/// Clients that ask each hostile server in each way.
fn askers(server: &HostileServer, host: &Arc<TestHost>) -> JoinSet<Result<()>> {
    let mut askers = JoinSet::new();
    let urls = OUTCOMES.iter().map(|(path, _)| server.url(path)).chain([server.secure_url()]);
    for url in urls {
        for event in ["http_get", "http_send", "deliver"] {
            let payload = json!({ "url": url, "method": "GET", "expires_ms": 1 });
            let host = Arc::clone(host);
            askers.spawn(async move { ask_again_and_again(&host, event, &payload).await });
        }
    }
    askers
}

/// Whether requests have failed for each reason since the earlier counts, and at least as many deliveries as there are servers.
fn all_have_failed(before: &Value, now: &Value) -> bool {
    let grown = |path: &str| Some(now.pointer(path)?.as_u64()?.saturating_sub(before.pointer(path)?.as_u64()?));
    let mut kinds = OUTCOMES.iter().map(|(_, kind)| *kind).chain([TLS_OUTCOME]);
    kinds.all(|kind| grown(&format!("/http/failed/{kind}")) > Some(0))
        && grown("/deliveries/failed") > Some(OUTCOMES.len() as u64)
}

/// A client that asks once a second, and never waits for the answer. All of them together make the host read 12 MB a second of bodies that
/// are too large: more would measure the processor, and not whether anybody waits for such a server.
async fn ask_again_and_again(host: &TestHost, event: &str, payload: &Value) -> Result<()> {
    let mut client = join(host).await?;
    loop {
        client.push(TOPIC, event, payload).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
