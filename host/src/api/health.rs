//! `GET /livez` and `GET /readyz`: whether a restart would help, and whether the host should get traffic.
//!
//! Both need no key, because load balancers and service managers ask them. Without a key the answer is only the status. With
//! the API key, it says why.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::access::key_of;
use super::{Access, ApiError, Scope};
use crate::channel::Node;
use crate::cluster::Peers;
use crate::health::{Health, Present, Reasons};
use crate::plugin::PluginStatuses;

/// The parts of the host that the endpoints use.
pub struct HealthParts {
    /// The results of the self-test.
    pub health: Arc<Health>,
    /// The node, for its store.
    pub node: Arc<Node>,
    /// The state of each plugin.
    pub statuses: Arc<PluginStatuses>,
    /// Names the vital task or thread that has ended.
    pub failure: Arc<OnceLock<String>>,
    /// The other nodes, if the host is in a cluster.
    pub cluster: Option<Arc<Peers>>,
    /// Checks the API key, if there is an API.
    pub access: Option<Arc<Access>>,
}

/// Which of the two endpoints is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Probe {
    Live,
    Ready,
}

/// Returns the routes `/livez` and `/readyz`.
pub fn health_router(parts: HealthParts) -> Router {
    let answer = |probe| {
        move |State(parts): State<Arc<HealthParts>>, headers: HeaderMap| async move { parts.answer(probe, &headers) }
    };
    Router::new()
        .route("/livez", get(answer(Probe::Live)))
        .route("/readyz", get(answer(Probe::Ready)))
        .with_state(Arc::new(parts))
}

impl HealthParts {
    fn answer(&self, probe: Probe, headers: &HeaderMap) -> Response {
        let reasons = self.reasons(probe);
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        // The answer must not be older than the request.
        let fresh = [(header::CACHE_CONTROL, "no-store")];
        if !headers.contains_key(header::AUTHORIZATION) {
            let text = if reasons.is_empty() { "ok\n" } else { "not ok; with the API key, the answer says why\n" };
            return (status, fresh, text).into_response();
        }
        let Some(access) = &self.access else {
            return (status, fresh, "this host has no API, and so no key\n").into_response();
        };
        let checked = key_of(access, headers).map_err(ApiError::from);
        match checked.and_then(|caller| caller.check_scope(Scope::Read)) {
            Ok(()) => (status, fresh, Json(self.details(&reasons))).into_response(),
            Err(refused) => refused.into_response(),
        }
    }

    fn reasons(&self, probe: Probe) -> Reasons {
        let trouble = self.node.store.trouble();
        let cluster_troubles = cluster_troubles(self.cluster.as_deref(), &self.statuses);
        let present = Present {
            failure: self.failure.get().map(String::as_str),
            store_trouble: trouble.as_ref().map(|trouble| trouble.reason.as_str()),
            cluster_troubles: &cluster_troubles,
            is_served: self.statuses.is_any_served(),
        };
        match probe {
            Probe::Live => self.health.dead(Instant::now(), present),
            Probe::Ready => self.health.unready(Instant::now(), present),
        }
    }

    fn details(&self, reasons: &Reasons) -> Value {
        let ago = |at: Instant| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let checks: Map<String, Value> = self
            .health
            .checks(Instant::now())
            .iter()
            .map(|(check, state)| {
                let shown = json!({ "succeeded_ms_ago": state.succeeded().map(ago), "failure": state.failure() });
                (check.as_str().to_owned(), shown)
            })
            .collect();
        json!({ "ok": reasons.is_empty(), "reasons": reasons, "checks": checks })
    }
}

/// Why clients shouldn't connect to this node of a cluster, in sentences. Empty without a cluster.
pub(super) fn cluster_troubles(peers: Option<&Peers>, statuses: &PluginStatuses) -> Reasons {
    peers.into_iter().flat_map(|peers| peers.trouble().into_iter().chain(statuses.cluster_troubles())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower_service::Service as _;

    use super::*;
    use crate::channel::NodeLimits;
    use crate::health::{Check, Draining};
    use crate::presence::Pace;
    use crate::store::{Store, StoreLimits};

    /// The endpoints of a host on which everything is well, except what the test changes.
    struct Stage {
        health: Arc<Health>,
        failure: Arc<OnceLock<String>>,
        router: Router,
    }

    impl Stage {
        fn new() -> anyhow::Result<Self> {
            let store = Store::in_memory(StoreLimits::default())?;
            let node = Node::new(Arc::default(), NodeLimits::default(), Pace::default(), store, Arc::default());
            let (health, failure) = (Arc::<Health>::default(), Arc::<OnceLock<String>>::default());
            let statuses = Arc::new(PluginStatuses::with_one_served());
            let parts = HealthParts {
                health: Arc::clone(&health),
                node,
                statuses,
                failure: Arc::clone(&failure),
                cluster: None,
                access: None,
            };
            Ok(Self { health, failure, router: health_router(parts) })
        }

        /// A host whose first self-test has passed.
        fn tested() -> anyhow::Result<Self> {
            let stage = Self::new()?;
            stage.test(Instant::now(), None);
            Ok(stage)
        }

        /// A self-test, in which one check doesn't answer.
        fn test(&self, now: Instant, silent: Option<Check>) {
            for check in self.health.begin_test(now).into_iter().filter(|check| Some(*check) != silent) {
                self.health.answer(check, now, Ok(()));
            }
        }

        async fn get(&mut self, path: &str) -> anyhow::Result<(u16, String)> {
            let answer = self.router.call(Request::get(path).body(Body::empty())?).await?;
            let status = answer.status().as_u16();
            Ok((status, String::from_utf8(to_bytes(answer.into_body(), 1 << 10).await?.into())?))
        }

        /// The statuses of `/livez` and of `/readyz`. The text says the same.
        async fn statuses(&mut self) -> anyhow::Result<(u16, u16)> {
            let (live, ready) = (self.get("/livez").await?, self.get("/readyz").await?);
            for (status, text) in [&live, &ready] {
                assert_eq!(*status == 200, text == "ok\n", "{status}: {text}");
            }
            Ok((live.0, ready.0))
        }
    }

    #[tokio::test]
    async fn a_host_is_not_ready_before_its_first_self_test() -> anyhow::Result<()> {
        let mut stage = Stage::new()?;
        assert_eq!(stage.statuses().await?, (200, 503));
        stage.test(Instant::now(), None);
        assert_eq!(stage.statuses().await?, (200, 200));
        Ok(())
    }

    #[tokio::test]
    async fn a_silent_part_makes_the_host_unready_and_then_dead() -> anyhow::Result<()> {
        for check in Check::ALL {
            let (mut stage, most) = (Stage::tested()?, if check == Check::Store { 13 } else { 7 });
            for tests in 1..most {
                stage.test(Instant::now(), Some(check));
                let ready = if tests < 3 { 200 } else { 503 };
                assert_eq!(stage.statuses().await?, (200, ready), "{check:?} after {tests} tests");
            }
            stage.test(Instant::now(), Some(check));
            assert_eq!(stage.statuses().await?, (503, 503), "{check:?}");
            stage.health.answer(check, Instant::now(), Ok(()));
            assert_eq!(stage.statuses().await?, (200, 200), "{check:?} has answered");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_self_test_that_begins_late_makes_the_host_unready_and_then_dead() -> anyhow::Result<()> {
        let mut stage = Stage::new()?;
        for (seconds, expected) in [(31, (503, 503)), (16, (200, 503)), (14, (200, 200))] {
            let begun = Instant::now().checked_sub(Duration::from_secs(seconds));
            stage.test(begun.ok_or_else(|| anyhow::anyhow!("the clock goes back so far"))?, None);
            assert_eq!(stage.statuses().await?, expected, "{seconds} s ago");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_vital_task_that_has_ended_makes_the_host_dead() -> anyhow::Result<()> {
        let mut stage = Stage::tested()?;
        stage.failure.set("the task that loads plugins has ended".to_owned()).map_err(anyhow::Error::msg)?;
        assert_eq!(stage.statuses().await?, (503, 503));
        Ok(())
    }

    #[tokio::test]
    async fn a_host_that_drains_is_alive_and_not_ready() -> anyhow::Result<()> {
        let mut stage = Stage::tested()?;
        for draining in [Draining::HandingOver, Draining::Stopping] {
            stage.health.set_draining(Some(draining));
            assert_eq!(stage.statuses().await?, (200, 503), "{draining:?}");
        }
        stage.health.set_draining(None);
        assert_eq!(stage.statuses().await?, (200, 200));
        Ok(())
    }
}
