//! A client for requests by HTTP whose answers are in a table of the test.

use std::sync::{Mutex, PoisonError};

use crate::contract::{HttpClient, HttpResult, HttpTable};
use bennu_outbound::{Access, Answer, Checked, Failure, FailureKind, OutboundLimits};
use futures_util::future::BoxFuture;

/// The client. It has no network.
pub(crate) struct TableClient {
    table: Mutex<HttpTable>,
    limits: OutboundLimits,
}

impl TableClient {
    pub(crate) fn new(limits: OutboundLimits) -> Self {
        Self { table: Mutex::default(), limits }
    }

    /// Sets the answer to each request with this method and URL.
    pub(crate) fn set(&self, method: &str, url: &str, result: HttpResult) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).set(method, url, result);
    }
}

impl HttpClient for TableClient {
    fn limits(&self) -> &OutboundLimits {
        &self.limits
    }

    fn send<'a>(&'a self, _: &'a Access, request: &'a Checked) -> BoxFuture<'a, Result<Answer, Failure>> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let result = table.answer(request.method().as_str(), request.target().as_str());
        let answer = result
            .map(|response| Answer { status: response.status, headers: response.headers, body: response.body })
            .map_err(|failure| Failure { kind: kind(&failure.kind), detail: failure.detail });
        Box::pin(std::future::ready(answer))
    }
}

/// The kind with a name.
fn kind(name: &str) -> FailureKind {
    FailureKind::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(FailureKind::Broken)
}
