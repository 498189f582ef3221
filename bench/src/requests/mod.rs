//! What requests by HTTP cost the host, beside the same requests of a bare client: `http.get` and `http.deliver`.
//!
//! The plugin `naughty` asks a server in this process. An echo is subtracted from `get`, so that what remains is the request alone. A
//! delivery is compared with a stored key and a bare `POST`: what an application without deliveries would do, and could lose.

mod backend;
mod bare;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::client::Client;
use crate::host::{Host, default_binary, guest};
use crate::statistics::{Spread, shown};
use backend::Backend;

/// Clients that ask at the same time. They are fewer than the calls that may wait for an answer.
const CLIENTS: usize = 8;

/// The CPU time of requests by HTTP, beside a bare client
#[derive(Args, Clone)]
pub(crate) struct Requests {
    /// Operations of each kind in a round
    #[arg(long, default_value_t = 20_000)]
    pub(crate) operations: usize,

    /// Measured rounds
    #[arg(long, default_value_t = 7)]
    pub(crate) rounds: usize,

    /// Run few operations: tests the scenario
    #[arg(long)]
    pub(crate) quick: bool,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    pub(crate) host: PathBuf,
}

/// The CPU times of one round, in microseconds for each operation.
#[derive(Default)]
struct Round {
    echo: f64,
    get: f64,
    bare_get: f64,
    put: f64,
    delivery: f64,
    bare_post: f64,
}

impl Requests {
    pub(crate) async fn run(&self) -> Result<()> {
        let (operations, rounds) = if self.quick { (80, 2) } else { (self.operations, self.rounds) };
        let backend = Backend::start()?;
        let config = format!("[plugins.naughty]\nhttp = [\"{}\"]\n", backend.url("/*"));
        let host = Host::start(&self.host, &guest("naughty"), &config)?;
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let mut client = Client::connect(host.address).await?;
            client.send(json!(["1", "1", topic(number), "phx_join", {}]).to_string()).await?;
            client.next().await?;
            clients.push(client);
        }
        let url = backend.url("/");
        let mut measured = Vec::new();
        // The first round warms up.
        for _ in 0..=rounds {
            let mut cost =
                async |event, payload: Value| measure(&host, &mut clients, operations, event, &payload).await;
            measured.push(Round {
                echo: cost("echo", json!({ "body": "hello" })).await?,
                get: cost("http_get", json!({ "url": url })).await?,
                put: cost("store_put", json!({ "key": "delivered:hello", "value": true })).await?,
                delivery: cost("deliver", json!({ "url": url, "body": "hello" })).await?,
                bare_get: bare::measure(backend.address, "GET", operations, CLIENTS)?,
                bare_post: bare::measure(backend.address, "POST", operations, CLIENTS)?,
            });
        }
        print(measured.get(1..).context("no round was measured")?)
    }
}

fn topic(number: usize) -> String {
    format!("naughty:{number}")
}

/// All clients do something again and again. Returns the host's CPU time of one operation, after everything has been delivered.
async fn measure(host: &Host, clients: &mut [Client], operations: usize, event: &str, payload: &Value) -> Result<f64> {
    let before = host.cpu()?;
    let asking = clients.iter_mut().enumerate().map(async |(number, client)| {
        let frame = json!(["1", "2", topic(number), event, payload]).to_string();
        for _ in 0..operations / CLIENTS {
            client.send(frame.clone()).await?;
            let answer = client.next().await?;
            ensure!(answer.contains(r#""status":"ok""#) && !answer.contains(r#""failure""#), "{event}: {answer}");
        }
        Ok(())
    });
    futures_util::future::try_join_all(asking).await?;
    while event == "deliver" && host.inspect()?["deliveries"]["all"] != 0 {
        // A question costs the host about as much as ten operations.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok((host.cpu()? - before).as_secs_f64() * 1e6 / operations as f64)
}

fn print(rounds: &[Round]) -> Result<()> {
    let spread = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure)).context("no round was measured");
    println!("| CPU time, µs | median (least–greatest) |\n| --- | --- |");
    for (name, figure) in [
        ("an echo", (|round| round.echo) as fn(&Round) -> f64),
        ("a callback with a `get`", |round| round.get),
        ("a `GET` of a bare client", |round| round.bare_get),
        ("a callback that stores a key", |round| round.put),
        ("a callback that stores a key and delivers a request, with the sending", |round| round.delivery),
        ("a `POST` of a bare client", |round| round.bare_post),
    ] {
        println!("| {name} | {} |", spread(figure)?);
    }
    let get = spread(|round| (round.get - round.echo) / round.bare_get)?;
    let delivery = spread(|round| round.delivery / (round.put + round.bare_post))?;
    println!("\nA `get` costs {} times a bare `GET`: {get}.", shown(get.median));
    println!("A delivery costs {} times a stored key and a bare `POST`: {delivery}.", shown(delivery.median));
    Ok(())
}
