//! Fetches the keys of identity providers from their URLs, and keeps them up to date.
//!
//! Each URL has a task, which ends when no mount uses the keys any more. The client is one of the host's own, with its own limits:
//! it connects only to public addresses, unless the configuration says otherwise, and follows a redirect only to the same URL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bennu_outbound::{Access, Answer, Client, OutboundLimits, Request, Roots, SystemNetwork};
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::config::JwksUrl;
use super::jwks_schedule::JwksSchedule;
use crate::auth::{KeySet, LiveKeys};

/// The maximum number of bytes of a key set, as for a file.
const SET_BYTES_MAX: usize = 1 << 20;

/// The maximum number of bytes of an entity tag that is sent back.
const ETAG_BYTES_MAX: usize = 1024;

/// The maximum time of a request.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// The maximum time that a start of the host waits for keys. Then it serves without them, and their mounts answer 503.
const START_WAIT: Duration = Duration::from_secs(5);

/// The keys at all URLs that mounts use.
pub(super) struct JwksUrls {
    client: Client,
    sets: Mutex<HashMap<JwksUrl, Weak<LiveKeys>>>,
}

impl JwksUrls {
    pub(super) fn new() -> Arc<Self> {
        let limits = OutboundLimits { received_bytes: SET_BYTES_MAX, whole: REQUEST_MAX, ..OutboundLimits::default() };
        let client = Client::new(limits, Arc::new(SystemNetwork::default()), Roots::System);
        Arc::new(Self { client, sets: Mutex::default() })
    }

    /// Returns the keys at a URL, which a task fetches from now on.
    pub(super) fn keys(&self, url: &JwksUrl) -> Result<Arc<LiveKeys>> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|_, keys| keys.strong_count() > 0);
        if let Some(keys) = sets.get(url).and_then(Weak::upgrade) {
            return Ok(keys);
        }
        let source = Source {
            url: url.url.clone(),
            access: Access::new("jwks", vec![url.grant()?], Vec::new()),
            client: self.client.clone(),
            etag: None,
        };
        let keys = LiveKeys::empty();
        sets.insert(url.clone(), Arc::downgrade(&keys));
        tokio::spawn(keep_fresh(source, Arc::downgrade(&keys), keys.wanted()));
        Ok(keys)
    }

    /// Waits for keys at a start of the host. Without them it serves, too, and their mounts answer 503 until they are there.
    pub(super) async fn wait_at_start(&self, urls: &[&JwksUrl]) {
        for url in self.missing(urls, START_WAIT).await {
            tracing::error!(url, "the keys aren't there yet, so no client can connect at the mounts that need them");
        }
    }

    /// Waits until the keys at these URLs are there, for a limited time. Returns the URLs whose keys aren't.
    pub(super) async fn missing<'a>(&self, urls: &[&'a JwksUrl], most: Duration) -> Vec<&'a str> {
        let wait = async |url: &'a JwksUrl| {
            let keys = self.sets.lock().unwrap_or_else(PoisonError::into_inner).get(url).and_then(Weak::upgrade)?;
            timeout(most, keys.present()).await.err().map(|_| url.url.as_str())
        };
        join_all(urls.iter().map(|&url| wait(url))).await.into_iter().flatten().collect()
    }
}

/// A URL, and what is known about its content.
struct Source {
    url: String,
    access: Access,
    client: Client,
    /// The entity tag of the keys that are in use.
    etag: Option<String>,
}

/// Fetches the keys when they are due, until nobody uses them.
async fn keep_fresh(mut source: Source, keys: Weak<LiveKeys>, wanted: Arc<Notify>) {
    let mut schedule = JwksSchedule::default();
    loop {
        loop {
            tokio::select! {
                () = sleep_until(schedule.due(Instant::now())) => break,
                () = wanted.notified() => schedule.want(),
            }
            if keys.strong_count() == 0 {
                return;
            }
        }
        schedule.begin(Instant::now());
        let fetched = source.fetch().await;
        let Some(keys) = keys.upgrade() else { return };
        match fetched {
            Ok(Fetched { set, cache_control }) => {
                schedule.succeed(Instant::now(), cache_control.as_deref());
                if let Some(set) = set {
                    log_set(&source.url, &set);
                    keys.replace(Some(set));
                }
            }
            Err(error) => {
                let has_keys = schedule.fail(Instant::now());
                if !has_keys {
                    keys.replace(None);
                    source.etag = None;
                }
                let what_now = if has_keys { "the keys of before are used" } else { "its tokens are refused" };
                tracing::warn!(url = source.url, "the keys could not be fetched, {what_now}: {error:#}");
            }
        }
    }
}

fn log_set(url: &str, set: &KeySet) {
    tracing::info!(url, keys = set.count(), "keys were fetched");
    for why in set.skipped() {
        tracing::warn!(url, "the key set is used without {why}");
    }
}

/// An answer with keys.
struct Fetched {
    /// None if the keys are the same as before.
    set: Option<KeySet>,
    cache_control: Option<String>,
}

impl Source {
    /// Asks for the keys, unless they are still those that are in use.
    async fn fetch(&mut self) -> Result<Fetched> {
        let mut headers = vec![("accept".to_owned(), "application/jwk-set+json, application/json".to_owned())];
        headers.extend(self.etag.iter().map(|etag| ("if-none-match".to_owned(), etag.clone())));
        let (method, url, body) = ("GET".to_owned(), self.url.clone(), bytes::Bytes::new());
        let request = Request { method, url, headers, body, timeout: None };
        let request = self.access.check(&request, self.client.limits())?;
        let Answer { status, headers, body } = self.client.send(&self.access, &request).await?;
        let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let cache_control = header("cache-control");
        match status {
            304 if self.etag.is_some() => return Ok(Fetched { set: None, cache_control }),
            200 => {}
            status => bail!("the server has answered {status}"),
        }
        let text = std::str::from_utf8(&body).context("the answer isn't UTF-8")?;
        let set = KeySet::jwks(text.trim_start_matches('\u{feff}'))?.without_shared()?;
        // One that can't be sent back is of no use.
        let is_plain =
            |etag: &String| etag.len() <= ETAG_BYTES_MAX && etag.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        self.etag = header("etag").filter(is_plain);
        Ok(Fetched { set: Some(set), cache_control })
    }
}
