//! How the servers are started: with `--listen ADDRESS`, and they say where they listen.

use std::env;
use std::error::Error;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

/// Serves until it is ended.
pub async fn serve(router: Router) -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip_while(|argument| argument != "--listen").skip(1);
    let listener = TcpListener::bind(arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned())).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // Where this fails, the connection has ended already.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}
