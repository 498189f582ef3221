//! Requests to the API's own address while the host hands over to another process.
//!
//! They wait until one of the two processes serves. If that is the other one, they are passed on to it: they were sent to its
//! address too, and only came here because this process still accepts connections, to say that it isn't ready.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::transport::Intake;

/// Who answers the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// This process.
    Here,
    /// It isn't decided yet.
    Undecided,
    /// The process that has taken over.
    Successor,
}

/// Holds the requests to an address while it isn't decided who answers them.
#[derive(Clone)]
pub(super) struct HeldRequests {
    answers: Arc<watch::Sender<Answers>>,
    /// Whether connections to the address are accepted.
    pub(super) intake: Intake,
}

impl Default for HeldRequests {
    fn default() -> Self {
        Self { answers: Arc::new(watch::Sender::new(Answers::Here)), intake: Intake::default() }
    }
}

impl HeldRequests {
    /// Requests wait from now on, or are answered here again.
    pub(super) fn hold(&self, holds: bool) {
        self.answers.send_replace(if holds { Answers::Undecided } else { Answers::Here });
    }

    /// Another process has taken over, and listens on the same addresses.
    pub(super) fn pass_on(&self) {
        self.answers.send_replace(Answers::Successor);
    }

    /// These routes, at the address of this listener.
    pub(super) fn holding(&self, routes: Router, listener: &TcpListener) -> Router {
        // Without an address, no request can be passed on.
        let state = (self.clone(), listener.local_addr().ok());
        routes.layer(from_fn_with_state(state, Self::answer))
    }

    async fn answer(
        State((held, address)): State<(Self, Option<SocketAddr>)>,
        request: Request,
        next: Next,
    ) -> Response {
        let decided =
            held.answers.subscribe().wait_for(|answers| *answers != Answers::Undecided).await.map(|answers| *answers);
        match decided {
            Ok(Answers::Successor) => passed_on(address, request).await.unwrap_or_else(|error| {
                tracing::debug!("a request to the API can't be passed on to the new process: {error:#}");
                (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "this process is replaced by another one\n")
                    .into_response()
            }),
            _ => next.run(request).await,
        }
    }
}

/// Asks the process that listens on the address now.
async fn passed_on(address: Option<SocketAddr>, mut request: Request) -> Result<Response, anyhow::Error> {
    let stream = TcpStream::connect(address.context("its address isn't known")?).await?;
    let (mut sender, connection) = handshake::<_, Body>(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let mut answer = sender.send_request(request).await?.map(Body::new);
    // So that the client's next request goes to the other process.
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(answer)
}
