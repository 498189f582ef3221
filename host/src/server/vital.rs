//! Watches the vital tasks and threads, without which the host can't serve. If one of them ends, the host stops in order,
//! logs its name, and exits with the status of a failure. If the host continued instead, some clients would never get an
//! answer, and a process supervisor would see no reason to restart the host.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;

use tokio::task::{Id, JoinError, JoinSet};

use crate::contract::one_line;

/// The set of watched tasks. Dropping it aborts them.
#[derive(Default)]
pub(super) struct Vital {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A vital task or thread that has ended, with the message of its panic, if it panicked.
#[derive(Debug)]
pub struct Ended {
    name: &'static str,
    panic: Option<String>,
}

impl Ended {
    /// Something else that a host can't serve without.
    pub(super) fn of(name: &'static str) -> Self {
        Self { name, panic: None }
    }
}

impl Vital {
    /// Starts a task that must not end. To watch a thread, pass a future that completes when the thread ends.
    pub(super) fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(work).id();
        self.names.insert(id, name);
    }

    /// Waits until one of the tasks has ended, by itself or by a panic. Without tasks, it waits forever.
    pub(super) async fn ended(&mut self) -> Ended {
        let Some(ended) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        let (id, panic) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), panic_of(error)),
        };
        Ended { name: self.names.get(&id).copied().unwrap_or_default(), panic }
    }
}

fn panic_of(error: JoinError) -> Option<String> {
    let payload: Box<dyn Any + Send> = error.try_into_panic().ok()?;
    let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Some(one_line(text.unwrap_or_default()))
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, panic } = self;
        write!(f, "a fault of the host: {name} has ended, and without it the host can't serve")?;
        panic.iter().try_for_each(|panic| write!(f, "; it panicked: {panic}"))
    }
}

impl std::error::Error for Ended {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_named_and_dropping_the_set_ends_the_others() {
        let mut vital = Vital::default();
        let (alive, mut is_over) = tokio::sync::oneshot::channel::<()>();
        vital.spawn("the one that stays", async move {
            let _alive = alive;
            std::future::pending().await
        });
        vital.spawn("the one that panics", async { panic!("of {}", "fear") });
        let text = vital.ended().await.to_string();
        assert!(text.contains("the one that panics has ended") && text.ends_with("; it panicked: of fear"), "{text}");
        vital.spawn("the one that returns", async {});
        let text = vital.ended().await.to_string();
        assert!(text.contains("the one that returns has ended") && text.ends_with("the host can't serve"), "{text}");
        assert!(is_over.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Empty));
        drop(vital);
        assert!(is_over.await.is_err());
    }

    #[tokio::test]
    async fn while_all_tasks_run_nothing_is_reported() {
        let mut vital = Vital::default();
        vital.spawn("the one that stays", std::future::pending());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), vital.ended()).await.is_err());
    }
}
