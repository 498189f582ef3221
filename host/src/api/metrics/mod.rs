//! `GET /metrics`: all counts of the host, for Prometheus.
//!
//! Nothing is counted for a scrape: the counts are where things happen, and a scrape reads them. So the hot paths have no
//! registry, no lookup and no label. No label has a value that a client can make up: a topic is no label.

mod clients;
mod cluster;
mod limits;
mod page;
mod plugins;
mod process;
mod store;
mod traffic;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use self::page::Page;
use super::{Api, ApiError};

/// The content type of OpenMetrics, and how a scraper asks for it.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OPENMETRICS_TYPE: &str = "application/openmetrics-text";

/// The bytes that are reserved for the text at first.
const TEXT_BYTES: usize = 32 << 10;

/// Answers a scrape: in OpenMetrics if the scraper takes it, and otherwise in Prometheus' own text format.
pub(super) async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_open = accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with(OPENMETRICS_TYPE));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(api)));
    let mut body = String::with_capacity(TEXT_BYTES);
    let (written, content_type) = if is_open {
        (text::encode(&mut body, &registry), OPENMETRICS)
    } else {
        (prometheus_text::encode(&mut body, &registry), prometheus_text::CONTENT_TYPE)
    };
    written.map_err(|_| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "host_failed", "a fault of the host: no text could be made")
    })?;
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// Reads all counts once.
struct Scrape(Arc<Api>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (api, mut page) = (&*self.0, Page::new(encoder));
        process::write(api, &mut page)?;
        clients::write(api, &mut page)?;
        traffic::write(api, &mut page)?;
        plugins::write(api, &mut page)?;
        store::write(api, &mut page)?;
        limits::write(api, &mut page)?;
        cluster::write(api, &mut page)
    }
}
