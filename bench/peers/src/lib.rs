//! Starts the servers. Each takes `--listen ADDRESS` and prints the address that it listens on.

use std::env;
use std::error::Error;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

/// Serves `router` until the process is ended.
pub async fn serve(router: Router) -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip_while(|argument| argument != "--listen").skip(1);
    let listener = TcpListener::bind(arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned())).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // An error means that the connection has already ended.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}
