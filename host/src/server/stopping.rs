//! How a host ends: its turns, its sockets, their channels, and its durable rooms.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::handing_over::HandingOver;
use super::vital::{Ended, Vital};
use crate::channel::Node;
use crate::counts::Limit;
use crate::plugin::LibraryPause;
use crate::protocol::CloseCode;
use crate::socket::Sockets;
use crate::timing::within;
use crate::transport::{Intake, Reactors};

/// How long a host that ends waits for the answers that it has begun, and for the first request of each connection that has sent none:
/// it may be on its way. So a connection that stays silent, such as one that a browser or a proxy opened in advance, makes the end this
/// much later.
const REQUESTS_MAX: Duration = Duration::from_secs(1);

/// The part of `stop_ms` in which turns that have begun may end before the sockets are closed, so that their replies are
/// written.
const STOP_FOR_TURNS: f64 = 0.25;

/// The part of `stop_ms` in which sockets and channels may end. The rest of the time is for storing durable rooms, so that a
/// channel that doesn't end can't prevent that.
const STOP_FOR_CHANNELS: f64 = 0.75;

/// Why a host stops.
pub(super) enum End {
    /// It was told to.
    Stop,
    /// A vital task or thread has ended.
    Failed(Ended),
    /// Another process serves, and has the store. The library does nothing while the pause exists.
    Replaced(Option<LibraryPause>),
}

/// Waits until the host has to stop: it is told to, a vital task or thread has ended, or another process serves. After that, the host
/// doesn't listen for a successor any more: one that connected would wait for an answer, and so would `bennu upgrade`.
pub(super) async fn until_end(
    stop: impl Future<Output = ()> + Send,
    [vital, loading, operating]: [&mut Vital; 3],
    handing_over: Option<HandingOver>,
) -> End {
    let mut replacing = pin!(until_replaced(handing_over.as_ref()));
    let end = tokio::select! {
        () = stop => End::Stop,
        ended = vital.ended() => End::Failed(ended),
        ended = loading.ended() => End::Failed(ended),
        ended = operating.ended() => End::Failed(ended),
        end = &mut replacing => end,
    };
    let (End::Stop, Some(handing_over)) = (&end, &handing_over) else { return end };
    // A hand-over that is under way ends first, one way or the other.
    tokio::select! {
        end = &mut replacing => end,
        () = handing_over.stopped() => End::Stop,
    }
}

/// Serves on for a while if the host was told to stop. `/readyz` says that it isn't ready, and a load balancer needs time to notice:
/// until then it sends new clients, which would be refused. If a vital task or thread ends meanwhile, the host stops at once.
pub(super) async fn serve_on(end: End, drain: Duration, [vital, loading, operating]: [&mut Vital; 3]) -> End {
    if drain.is_zero() || !matches!(end, End::Stop) {
        return end;
    }
    tracing::info!("draining: the host isn't ready any more, and serves on for {drain:?} (`drain_ms`)");
    tokio::select! {
        () = sleep(drain) => end,
        ended = vital.ended() => End::Failed(ended),
        ended = loading.ended() => End::Failed(ended),
        ended = operating.ended() => End::Failed(ended),
    }
}

/// Waits until another process serves, or until this one can't serve any more.
async fn until_replaced(handing_over: Option<&HandingOver>) -> End {
    let Some(handing_over) = handing_over else { return std::future::pending().await };
    match handing_over.until_replaced().await {
        Ok(pause) => End::Replaced(pause),
        Err(error) => {
            tracing::error!("the host can't serve any more: {error:#}");
            End::Failed(Ended::of("the hold of the data directory"))
        }
    }
}

/// Closes the sockets of a host that was replaced, within `stop`. Their members end at the successor. The requests that are
/// being answered are answered.
pub(super) async fn close_sockets(sockets: &Sockets, intakes: [&Intake; 2], stop: Duration) {
    tracing::info!("another process serves now; closing the connections");
    if within(sockets.closing_time() + stop, sockets.close_all(CloseCode::ServiceRestart)).await.is_none() {
        tracing::warn!(
            sockets = sockets.count(),
            "some clients haven't answered the close of their connections in time"
        );
    }
    end_requests(intakes).await;
}

/// Accepts no further connections, and waits until the requests are answered that the host has begun to answer, and the first one of each
/// connection that has sent none. What takes longer than [`REQUESTS_MAX`] is cut off.
pub(super) async fn end_requests(intakes: [&Intake; 2]) {
    intakes.iter().for_each(|intake| intake.set(false));
    let drained = async {
        for intake in intakes {
            intake.drained().await;
        }
    };
    if within(REQUESTS_MAX, drained).await.is_none() {
        tracing::debug!("some requests are cut off");
    }
}

/// Ends the turns, the sockets and their channels, and stores the durable rooms, within `stop`.
pub(super) async fn end_sockets_and_rooms(node: &Node, sockets: &Sockets, reactors: &Reactors, stop: Duration) {
    let began = Instant::now();
    // A client whose message is being handled gets the reply before its socket is closed. Further messages stay in their
    // streams.
    reactors.pause(true);
    node.hold_ticks(true);
    if within(stop.mul_f64(STOP_FOR_TURNS), node.idle()).await.is_none() {
        tracing::warn!("sockets are closed while turns still run, so their clients may not get the replies");
    }
    let for_channels = stop.mul_f64(STOP_FOR_CHANNELS).saturating_sub(began.elapsed());
    let ended = within(for_channels, async {
        sockets.close_all(CloseCode::ServiceRestart).await;
        node.emptied().await;
    });
    if ended.await.is_none() {
        Limit::StopMs.hit();
        let (sockets, channels) = (sockets.count(), node.channel_count());
        tracing::warn!(
            sockets,
            channels,
            "stopped before all sockets and channels had ended; `limits.stop_ms` says how long a stop may take"
        );
    }
    // Also if some channels haven't ended, because the rooms of other topics can be stored.
    let rest = stop.saturating_sub(began.elapsed()).max(stop.mul_f64(1.0 - STOP_FOR_CHANNELS));
    if within(rest, node.store_rooms()).await.is_none() {
        tracing::error!("stopped before the last commits of all durable rooms were stored");
    }
}
