//! The self-test: each few seconds, a timer, a thread that serves connections, the task that loads plugins, and the store.
//!
//! The endpoints only tell its last results. A client that asks often costs nothing but the answer.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::{MissedTickBehavior, interval};

use crate::health::{Check, Health, TEST_INTERVAL};
use crate::plugin::{Control, Library};
use crate::store::Store;
use crate::transport::{ReactorProbe, Reactors};

/// The parts that are tested.
#[derive(Clone)]
pub(super) struct SelfTest {
    pub(super) health: Arc<Health>,
    reactors: ReactorProbe,
    library: Control,
    store: Store,
}

impl SelfTest {
    /// A test of these parts.
    pub(super) fn new(reactors: &Reactors, library: &Library, store: &Store) -> Self {
        let (reactors, library) = (reactors.probe(), library.control());
        Self { health: Arc::default(), reactors, library, store: store.clone() }
    }

    /// Tests the host until it is dropped.
    pub(super) async fn run(self) {
        let mut ticks = interval(TEST_INTERVAL);
        // After a pause of the process, one test is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for check in self.health.begin_test(Instant::now()) {
                let test = self.clone();
                // In a task of its own: a part that doesn't answer must not delay the others. Each part has at most one such
                // task, because it is asked again only after an answer.
                tokio::spawn(async move {
                    let result = test.check(check).await;
                    test.health.answer(check, Instant::now(), result);
                });
            }
        }
    }

    async fn check(&self, check: Check) -> Result<(), String> {
        match check {
            // The timer of this task has fired, and the runtime runs the task that answers. That it doesn't fire is noticed by who
            // asks: then the last test is too long ago.
            Check::Timer => Ok(()),
            Check::Reactors => self.reactors.answered().await.map_err(str::to_owned),
            Check::Library => self.library.answered().await.map_err(|error| error.to_string()),
            // The id mark is a commit of its own, with a sync. No plugin's data and no quota changes.
            Check::Store => self.store.keep_ids().await.map(drop).map_err(|error| error.to_string()),
        }
    }
}
