//! The host with one channel as native code. For clients, the channel behaves exactly as the plugin `echo`. Compared with
//! the host that runs the plugin, it shows the cost of WebAssembly: `cargo xtask bench native`.

mod echo;

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use bennu::auth::Origins;
use bennu::channel::{Node, NodeLimits};
use bennu::presence::Pace;
use bennu::protocol::Dialect;
use bennu::pubsub::OutboxLimits;
use bennu::routes::{Route, RouteSpec, RouteTable, Routes, Takes};
use bennu::socket::{Endpoint, SocketLimits, Sockets};
use bennu::store::{Owner, QUOTA_BYTES, Store, StoreLimits};
use bennu::transport::{Accepting, Authenticator, ConnectionLimit, LiveRouter, Mount, Reactors, WireLimits, listen};
use tokio::net::TcpListener;

/// The maximum number of sockets.
const SOCKETS: usize = 20_000;

#[tokio::main]
async fn main() -> Result<()> {
    let routes = Arc::new(RouteTable::default());
    routes.publish(Routes::new(["bench:*", "echo:*"].map(route).into_iter().collect::<Result<Vec<_>>>()?)?);
    let store = Store::in_memory(StoreLimits::default())?;
    let node = Node::new(Arc::clone(&routes), NodeLimits::default(), Pace::default(), store, Arc::default());
    // The default number of the host.
    let threads = available_parallelism().map_or(1, usize::from).div_ceil(2);
    let reactors = Reactors::start(threads, &node.pubsub.pressure)?;
    let mount = Mount {
        path: "/socket".into(),
        websocket: true,
        longpoll: false,
        origins: Origins::Any,
        subprotocols: Vec::new(),
        dialect: Dialect::Phoenix,
        compress: false,
        auth_token: false,
        authenticator: Authenticator::Open,
        endpoint: Endpoint {
            node,
            sockets: Arc::new(Sockets::default()),
            limits: SocketLimits::default(),
            outbox_limits: OutboxLimits::default(),
        },
        limits: WireLimits {
            frame_bytes: 1 << 20,
            idle: Duration::from_secs(60),
            poll_window: Duration::from_secs(10),
        },
        gate: ConnectionLimit::new(SOCKETS),
        reactors,
    };
    let listener = TcpListener::bind(address()?).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let tally = Arc::clone(&mount.endpoint.sockets.tally);
    let router = LiveRouter::new(vec![Arc::new(mount)], Router::new(), None, Arc::clone(&tally));
    listen(Arc::new(listener), router, SOCKETS, Accepting { tally, ..Accepting::default() }).await;
    Ok(())
}

/// The command line: `--listen ADDRESS`, or nothing for a free port.
fn address() -> Result<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => Ok("127.0.0.1:0".into()),
        [listen, address] if listen == "--listen" => Ok(address.clone()),
        _ => bail!("the only option is `--listen ADDRESS`"),
    }
}

fn route(pattern: &str) -> Result<Arc<Route>> {
    Ok(Arc::new(Route {
        spec: RouteSpec::read(pattern, Vec::new(), (0, 0), &[])?,
        plugin: "native".into(),
        generation: 1,
        takes: Takes::default(),
        owner: Owner::new("native", QUOTA_BYTES).context("a name")?,
        behaviour: Arc::new(echo::Echo),
        probation: None,
    }))
}
