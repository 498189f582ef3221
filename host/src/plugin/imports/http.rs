//! Imports of HTTP: a request for whose answer the call waits, and one that is an effect.

use std::sync::Arc;

use wasmtime::Result;

use super::super::bindings::bennu::channel::http::{self, Failure, Header, Response};
use super::super::bindings::bennu::channel::types::Setting;
use super::super::guest::{Guest, Storage};
use super::super::http_phase::HttpPhase;
use super::waited;
use crate::contract::deliveries::{Delivery, DeliveryRow};
use crate::contract::limits::keys;
use crate::contract::{Effect, Fault, HttpFailure, HttpRequest, HttpResponse, HttpResult, limit_key};
use crate::counts::Limit;

impl Guest {
    /// Returns the answer that an earlier run of the call got at this place, or else sends the request.
    async fn get(&mut self, request: HttpRequest) -> Result<HttpResult, Fault> {
        self.check_evaluated()?;
        request.check_reads()?;
        let context = Arc::clone(&self.context);
        let checked = context.http.check(&context.access, &request)?;
        let HttpPhase::Open { journal, place } = &mut self.http else {
            return Err(Fault::no_http());
        };
        let (journal, at, most) = (Arc::clone(journal), *place, context.limits.http_gets);
        if at >= most {
            let key = limit_key(keys::HTTP_GETS_PER_CALL, most);
            return Err(Fault::oversize(format!("a call waits for at most {most} answers by HTTP{key}")));
        }
        *place += 1;
        self.note_time();
        if let Some(result) = journal.find(at, &request) {
            return Ok(result);
        }
        let trace = self.trace();
        let result = match context.waiting.try_acquire() {
            Ok(_place) => self.without_snapshot(context.http.get(&context.access, checked, trace)).await,
            Err(_) => {
                Limit::HttpWaitingCalls.hit();
                Err(HttpFailure { kind: "busy".into(), detail: "too many calls of the plugin wait for answers".into() })
            }
        };
        journal.note(at, request, result.clone());
        Ok(result)
    }

    /// Waits for something that may take long. Meanwhile the call holds no snapshot of the store, because the store keeps all
    /// that a snapshot shows. A call that is run twice keeps its snapshot: both runs must read the same.
    async fn without_snapshot<T>(&mut self, wait: impl Future<Output = T>) -> T {
        if self.context.repeats_calls {
            return wait.await;
        }
        let paused = match &mut self.storage {
            Storage::Open { draft, .. } => draft.take().map(|draft| draft.pause()),
            Storage::Closed => None,
        };
        let result = wait.await;
        if let (Some(paused), Storage::Open { draft, .. }) = (paused, &mut self.storage) {
            *draft = Some(Box::new(self.context.store.resume(paused)));
        }
        result
    }
}

impl http::Host for Guest {
    async fn get(
        &mut self,
        method: String,
        url: String,
        headers: Vec<Header>,
        settings: Vec<Setting>,
    ) -> Result<std::result::Result<Response, Failure>> {
        let request = request(method, url, headers, Vec::new(), &settings)?;
        let (result, has_waited) = waited(Guest::get(self, request)).await;
        self.has_waited |= has_waited;
        Ok(result?.map(Response::from).map_err(Failure::from))
    }

    async fn request(
        &mut self,
        key: String,
        method: String,
        url: String,
        headers: Vec<Header>,
        body: Vec<u8>,
        settings: Vec<Setting>,
    ) -> Result<()> {
        self.check_evaluated()?;
        let request = request(method, url, headers, body, &settings)?;
        self.context.http.check(&self.context.access, &request)?;
        self.ask(Effect::HttpRequest { key: key.into(), request: Box::new(request) })
    }

    async fn deliver(
        &mut self,
        url: String,
        headers: Vec<Header>,
        body: Vec<u8>,
        settings: Vec<Setting>,
    ) -> Result<String> {
        self.check_evaluated()?;
        let mut delivery = delivery(url, headers, body, &settings)?;
        self.record.check_delivery(&delivery)?;
        let context = Arc::clone(&self.context);
        context.http.check_delivery(&context.access, &delivery)?;
        if let Some(trace) = self.trace()
            && let Ok(span) = context.surroundings.random()
        {
            delivery = context.http.within_trace(&context.access, delivery, trace, span);
        }
        let (id, now_ms) = (context.surroundings.unique_id(), context.surroundings.now_ms());
        let row = DeliveryRow::new(delivery, context.access.name(), self.topic.as_ref(), now_ms);
        let added = self.draft(true)?.add_delivery(&id, &row);
        added.map_err(|oversize| Fault::oversize(oversize.to_string()))?;
        Ok(id)
    }
}

/// The parameters of `deliver`.
fn delivery(url: String, headers: Vec<Header>, body: Vec<u8>, settings: &[Setting]) -> Result<Delivery, Fault> {
    let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
    Delivery::new(url, headers, body.into()).set(settings.iter().map(|setting| (&*setting.name, &*setting.value)))
}

fn request(
    method: String,
    url: String,
    headers: Vec<Header>,
    body: Vec<u8>,
    settings: &[Setting],
) -> Result<HttpRequest, Fault> {
    let timeout = HttpRequest::timeout_of(settings.iter().map(|setting| (&*setting.name, &*setting.value)))?;
    let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
    Ok(HttpRequest { method, url, headers, body: body.into(), timeout })
}

impl From<HttpResponse> for Response {
    fn from(response: HttpResponse) -> Self {
        let HttpResponse { status, headers, body } = response;
        let headers = headers.into_iter().map(|(name, value)| Header { name, value }).collect();
        Self { status, headers, body: body.into() }
    }
}

impl From<HttpFailure> for Failure {
    fn from(HttpFailure { kind, detail }: HttpFailure) -> Self {
        Self { kind, detail }
    }
}
