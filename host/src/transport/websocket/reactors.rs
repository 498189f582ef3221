//! The reactors of a host.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mio::{Poll, Waker};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::arrival::Arrival;
use super::large_frames::LargeFrames;
use super::reactor::{Reactor, WAKE};
use super::reactor_handle::{ReactorHandle, next_group};
use crate::pubsub::Pressure;

/// The threads that serve WebSocket connections. They end when this is dropped, and their connections with them.
pub struct Reactors {
    handles: Arc<[Arc<ReactorHandle>]>,
    large_frames: Arc<LargeFrames>,
    /// The number of connections so far, by which they are distributed.
    arrived: AtomicUsize,
    /// Whether one of the threads has ended.
    ended: watch::Sender<bool>,
}

/// Asks the threads of a host whether they still take the frames of outboxes.
#[derive(Clone)]
pub struct ReactorProbe(Arc<[Arc<ReactorHandle>]>);

impl ReactorProbe {
    /// Waits until all threads have answered.
    ///
    /// # Errors
    /// If one of them has ended.
    pub async fn answered(&self) -> Result<(), &'static str> {
        let asked: Vec<_> = self.0.iter().map(|handle| handle.probe()).collect();
        for answer in asked {
            answer.await.map_err(|_| "it has ended")?;
        }
        Ok(())
    }
}

/// Reports the end of its thread when it is dropped, so a panic is reported too.
struct EndSignal(watch::Sender<bool>);

impl Drop for EndSignal {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Reactors {
    /// Starts `threads` threads, at least one. It must be called inside a tokio runtime, which runs all work that has to
    /// wait. Under `pressure`, the threads and all others that share it wait.
    ///
    /// # Errors
    /// If the operating system can't create a thread, a poll or a waker.
    pub fn start(threads: usize, pressure: &Arc<Pressure>) -> io::Result<Arc<Self>> {
        let group = next_group();
        let polls = (0..threads.max(1)).map(|_| Poll::new()).collect::<io::Result<Vec<Poll>>>()?;
        let handles = polls.iter().enumerate().map(|(place, poll)| {
            let waker = Waker::new(poll.registry(), WAKE)?;
            Ok(ReactorHandle::new(group, place, waker, Arc::clone(pressure)))
        });
        let handles: Arc<[Arc<ReactorHandle>]> = handles.collect::<io::Result<Vec<_>>>()?.into();
        let ended = watch::Sender::new(false);
        let reactors = Arc::new(Self {
            handles: Arc::clone(&handles),
            large_frames: Arc::default(),
            arrived: AtomicUsize::new(0),
            ended: ended.clone(),
        });
        for (place, poll) in polls.into_iter().enumerate() {
            let (handles, runtime) = (Arc::clone(&handles), Handle::current());
            let end_signal = EndSignal(ended.clone());
            thread::Builder::new().name(format!("bennu-wire-{place}")).spawn(move || {
                // Turns that have to wait continue as tasks in the runtime.
                let _inside = runtime.enter();
                let _end_signal = end_signal;
                Reactor::new(poll, handles, place).run();
            })?;
        }
        Ok(reactors)
    }

    /// Waits until one of the threads has ended. None ends before this is dropped, unless it has failed.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.ended.subscribe();
        async move {
            // An error means that all senders are dropped, and so that all threads have ended.
            let _ = ended.wait_for(|has_ended| *has_ended).await;
        }
    }

    /// Sets whether messages of clients wait in their streams, and aren't handled. Connections are still written to and
    /// closed.
    pub fn pause(&self, is_paused: bool) {
        self.handles.iter().for_each(|handle| handle.send(|inbox| inbox.pauses = Some(is_paused)));
    }

    /// Returns a handle that asks the threads whether they still work. It doesn't keep them alive.
    #[must_use]
    pub fn probe(&self) -> ReactorProbe {
        ReactorProbe(Arc::clone(&self.handles))
    }

    /// Returns the large frames that are being compressed for its connections.
    pub(super) fn large_frames(&self) -> &Arc<LargeFrames> {
        &self.large_frames
    }

    /// Hands a connection to a thread, to each in turn, and skips threads that have ended. If all have ended, it is closed.
    pub(super) fn admit(&self, mut arrival: Arrival) {
        // Relaxed, because the counter only distributes connections.
        let next = self.arrived.fetch_add(1, Ordering::Relaxed);
        for place in 0..self.handles.len() {
            match self.handles[(next.wrapping_add(place)) % self.handles.len()].send_arrival(arrival) {
                None => return,
                Some(refused) => arrival = refused,
            }
        }
        tracing::error!("a connection was closed: no thread that serves connections is left");
    }
}

#[cfg(test)]
impl Reactors {
    /// Causes a failure in one of the threads.
    pub(crate) fn inject_fault(&self, place: usize, fault: super::reactor_handle::Fault) {
        self.handles[place].send(|inbox| inbox.fault = Some(fault));
    }
}

impl Drop for Reactors {
    fn drop(&mut self) {
        self.handles.iter().for_each(|handle| handle.send(|inbox| inbox.is_over = true));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::reactor_handle::Fault;
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_thread_is_reported() -> io::Result<()> {
        let reactors = Reactors::start(2, &Arc::default())?;
        let mut ended = std::pin::pin!(reactors.ended());
        assert!(timeout(Duration::from_millis(10), &mut ended).await.is_err(), "both threads run");
        reactors.handles[1].send(|inbox| inbox.is_over = true);
        assert!(timeout(Duration::from_secs(30), ended).await.is_ok(), "one thread has ended");
        Ok(())
    }

    #[tokio::test]
    async fn the_threads_answer_probes_until_one_has_ended() -> io::Result<()> {
        let reactors = Reactors::start(2, &Arc::default())?;
        let answered = async || timeout(Duration::from_secs(30), reactors.probe().answered()).await;
        for _ in 0..3 {
            assert_eq!(answered().await, Ok(Ok(())));
        }
        // A turn that panics may lose a probe, as it may lose other work of its inbox. The next one is answered.
        reactors.inject_fault(0, Fault::Panic);
        let _ = answered().await;
        assert_eq!(answered().await, Ok(Ok(())));
        reactors.handles[1].send(|inbox| inbox.is_over = true);
        assert_eq!(answered().await, Ok(Err("it has ended")));
        Ok(())
    }
}
