//! What every bus does.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bennu_cluster::bus::{Bus, BusEvent, BusReceiver, BusSender, Lane};
use bennu_cluster::{BusEnds, BusError, NodeId};
use bennu_test_engines::{eventually, within};
use bennu_test_tiers::rounds;
use bytes::Bytes;
use futures_util::FutureExt;

/// A node, and the bus that it uses.
pub(crate) struct Node {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) me: NodeId,
}

impl Node {
    pub(crate) async fn open(&self) -> Result<BusEnds> {
        Ok(within("the bus opens", self.bus.open(self.me)).await??)
    }
}

/// What the tests run on: nodes that hear one another.
pub(crate) trait Bed: Sync {
    /// A node with a bus of its own.
    async fn node(&self, name: &str) -> Result<Node>;

    /// Kills the engine.
    fn kill(&self) -> Result<()>;

    /// Starts the engine again.
    fn start_again(&self) -> Result<()>;
}

/// A flush that says who has sent it, with a number and a size.
pub(crate) fn flush(from: NodeId, number: u64, size: usize) -> Bytes {
    let mut bytes = from.epoch.0.to_be_bytes().to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.extend((0..size).map(|at| u8::try_from((at * 7 + at / 251) % 251).unwrap_or_default()));
    bytes.into()
}

/// Who has sent a flush, and its number. The rest is checked.
pub(crate) fn read(bytes: &Bytes) -> Result<(u64, u64)> {
    let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let (from, of) = number(0).zip(number(8)).context("a flush that nobody has sent")?;
    let id =
        bennu_cluster::NodeId { epoch: bennu_cluster::Epoch(from), incarnation: bennu_cluster::Incarnation([0; 16]) };
    ensure!(*bytes == flush(id, of, bytes.len() - 16), "a flush of {} bytes has changed", bytes.len());
    Ok((from, of))
}

/// Sends one flush that has to be taken.
pub(crate) async fn send(sender: &mut dyn BusSender, lane: Lane, flush: Bytes) -> Result<()> {
    within("the flush is sent", sender.send(lane, flush)).await?.context("sending")
}

/// The next event that isn't a hint.
pub(crate) async fn next(receiver: &mut dyn BusReceiver) -> Result<BusEvent> {
    loop {
        let event = within("an event", receiver.next()).await?;
        if event != BusEvent::NodesChanged {
            return Ok(event);
        }
    }
}

/// Hears flushes until the one of a sender with a number, and returns them.
pub(crate) async fn hear_until(receiver: &mut dyn BusReceiver, from: NodeId, last: u64) -> Result<Vec<(u64, u64)>> {
    let mut heard = Vec::new();
    loop {
        match next(receiver).await? {
            BusEvent::Flush(flush) => heard.push(read(&flush)?),
            event => bail!("{event:?} after {heard:?}"),
        }
        if heard.last() == Some(&(from.epoch.0, last)) {
            return Ok(heard);
        }
    }
}

/// What one node sends is heard by all, itself among them, once and in its order.
pub(crate) async fn all_hear_what_one_sends_in_its_order(bed: &impl Bed) -> Result<()> {
    let count = rounds("cluster::flushes") as u64;
    let (one, other) = (bed.node("one").await?, bed.node("other").await?);
    let (mut sender, mut own) = one.open().await?;
    let (_quiet, mut hearer) = other.open().await?;
    let sending = async {
        for number in 1..=count {
            send(&mut *sender, Lane::All, flush(one.me, number, 100)).await?;
        }
        anyhow::Ok(())
    };
    let (sent, own, heard) =
        tokio::join!(sending, hear_until(&mut *own, one.me, count), hear_until(&mut *hearer, one.me, count));
    sent?;
    let expected: Vec<(u64, u64)> = (1..=count).map(|number| (one.me.epoch.0, number)).collect();
    ensure!(own? == expected, "the sender has heard something else");
    ensure!(heard? == expected, "the other node has heard something else");
    Ok(())
}

/// Three nodes send at the same time: each hears each one's flushes once and in their order.
pub(crate) async fn flushes_of_several_senders_keep_the_order_of_each(bed: &impl Bed) -> Result<()> {
    let count = rounds("cluster::flushes") as u64 / 3;
    let mut work = tokio::task::JoinSet::new();
    let mut open = Vec::new();
    for name in ["a", "b", "c"] {
        let node = bed.node(name).await?;
        open.push((node.me, node.open().await?));
    }
    let senders = open.len();
    for (me, (mut sender, mut receiver)) in open {
        work.spawn(async move {
            for number in 1..=count {
                send(&mut *sender, Lane::All, flush(me, number, 1_000)).await?;
            }
            anyhow::Ok(())
        });
        work.spawn(async move {
            let mut last: BTreeMap<u64, u64> = BTreeMap::new();
            while last.len() < senders || last.values().any(|last| *last < count) {
                let BusEvent::Flush(flush) = next(&mut *receiver).await? else { bail!("the connection was lost") };
                let (from, number) = read(&flush)?;
                let before = last.insert(from, number).unwrap_or_default();
                ensure!(before + 1 == number, "{number} of {from} after {before}");
            }
            Ok(())
        });
    }
    while let Some(done) = work.join_next().await {
        done??;
    }
    Ok(())
}

/// The lane of a node reaches this node only.
pub(crate) async fn the_lane_of_a_node_reaches_this_node_only(bed: &impl Bed) -> Result<()> {
    let (one, other, third) = (bed.node("one").await?, bed.node("other").await?, bed.node("third").await?);
    let (mut sender, mut own) = one.open().await?;
    let (_quiet, mut hearer) = other.open().await?;
    let (_silent, mut outsider) = third.open().await?;
    for number in 1..=10 {
        send(&mut *sender, Lane::Node(other.me.epoch), flush(one.me, number, 10)).await?;
    }
    send(&mut *sender, Lane::All, flush(one.me, 11, 10)).await?;
    let expected: Vec<_> = (1..=11).map(|number| (one.me.epoch.0, number)).collect();
    // Between two lanes there is no order.
    let mut heard = Vec::new();
    while heard.len() < 11 {
        let BusEvent::Flush(flush) = next(&mut *hearer).await? else { bail!("the connection was lost") };
        heard.push(read(&flush)?);
    }
    heard.sort_unstable();
    ensure!(heard == expected, "{heard:?}");
    ensure!(hear_until(&mut *own, one.me, 11).await? == [(one.me.epoch.0, 11)]);
    ensure!(hear_until(&mut *outsider, one.me, 11).await? == [(one.me.epoch.0, 11)]);
    Ok(())
}

/// Large and small flushes arrive whole, from two senders at once.
pub(crate) async fn flushes_of_all_sizes_arrive_whole(bed: &impl Bed) -> Result<()> {
    const SIZES: [usize; 6] = [0, 1, 5_834, 8_000, 1 << 20, 3 << 20];
    let (one, other) = (bed.node("one").await?, bed.node("other").await?);
    let (mut sender, mut hearer) = one.open().await?;
    let (mut second, _unheard) = other.open().await?;
    let send_all = async |sender: &mut dyn BusSender, me: NodeId| {
        for (size, number) in SIZES.into_iter().zip(1..) {
            send(sender, Lane::All, flush(me, number, size)).await?;
        }
        anyhow::Ok(())
    };
    let hearing = async {
        let mut heard = Vec::new();
        while heard.len() < 2 * SIZES.len() {
            let BusEvent::Flush(flush) = next(&mut *hearer).await? else { bail!("the connection was lost") };
            heard.push(read(&flush)?);
        }
        anyhow::Ok(heard)
    };
    let (first, later, heard) = tokio::join!(send_all(&mut *sender, one.me), send_all(&mut *second, other.me), hearing);
    first?;
    later?;
    let heard = heard?;
    for me in [one.me.epoch.0, other.me.epoch.0] {
        let numbers: Vec<u64> = heard.iter().filter(|(from, _)| *from == me).map(|(_, number)| *number).collect();
        ensure!(numbers == [1, 2, 3, 4, 5, 6], "{numbers:?}");
    }
    Ok(())
}

/// A receiver is dropped while it waits: nothing is lost.
pub(crate) async fn waiting_may_be_given_up(bed: &impl Bed) -> Result<()> {
    let one = bed.node("one").await?;
    let (mut sender, mut own) = one.open().await?;
    let mut heard = Vec::new();
    for number in 1..=50 {
        send(&mut *sender, Lane::All, flush(one.me, number, 10)).await?;
        if let Some(BusEvent::Flush(flush)) = own.next().now_or_never() {
            heard.push(read(&flush)?.1);
        }
    }
    while heard.last() != Some(&50) {
        let BusEvent::Flush(flush) = next(&mut *own).await? else { bail!("the connection was lost") };
        heard.push(read(&flush)?.1);
    }
    ensure!(heard == (1..=50).collect::<Vec<_>>(), "{heard:?}");
    Ok(())
}

/// A node that doesn't read holds nobody up. When it reads again, it hears all, or is told that it has missed something.
pub(crate) async fn a_stopped_receiver_holds_nobody_up(bed: &impl Bed) -> Result<()> {
    const COUNT: u64 = 1_000;
    let (one, other) = (bed.node("one").await?, bed.node("other").await?);
    let (mut sender, mut own) = one.open().await?;
    let (_quiet, mut stopped) = other.open().await?;
    let sending = async {
        for number in 1..=COUNT {
            send(&mut *sender, Lane::All, flush(one.me, number, 20_000)).await?;
        }
        anyhow::Ok(())
    };
    let (sent, heard) = tokio::join!(sending, hear_until(&mut *own, one.me, COUNT));
    sent?;
    ensure!(heard?.len() as u64 == COUNT, "the node that reads has missed something");
    let (mut last, mut is_told) = (0, false);
    while last != COUNT {
        match next(&mut *stopped).await? {
            BusEvent::Flush(flush) => {
                let number = read(&flush)?.1;
                ensure!(number == last + 1 || (is_told && number > last), "{number} after {last}");
                (last, is_told) = (number, false);
            }
            BusEvent::Down => is_told = true,
            BusEvent::Up if is_told && last < COUNT => {
                // The last one may be among those that it has missed.
                send(&mut *sender, Lane::All, flush(one.me, COUNT, 10)).await?;
            }
            event => bail!("{event:?}"),
        }
    }
    Ok(())
}

/// The engine is killed and started again. All are told, and what is sent after that is heard.
pub(crate) async fn after_a_restart_of_the_engine_all_is_heard_again(bed: &impl Bed) -> Result<()> {
    let (one, other) = (bed.node("one").await?, bed.node("other").await?);
    let (mut sender, mut own) = one.open().await?;
    let (mut second, mut hearer) = other.open().await?;
    send(&mut *sender, Lane::All, flush(one.me, 1, 10)).await?;
    hear_until(&mut *own, one.me, 1).await?;
    hear_until(&mut *hearer, one.me, 1).await?;
    bed.kill()?;
    ensure!(next(&mut *own).await? == BusEvent::Down);
    ensure!(next(&mut *hearer).await? == BusEvent::Down);
    eventually("a flush isn't sent", async || {
        Ok(matches!(sender.send(Lane::All, flush(one.me, 2, 10)).await, Err(BusError::Down(_))).then_some(()))
    })
    .await?;
    bed.start_again()?;
    ensure!(next(&mut *own).await? == BusEvent::Up);
    ensure!(next(&mut *hearer).await? == BusEvent::Up);
    for (sender, me) in [(&mut sender, one.me), (&mut second, other.me)] {
        eventually("the first flush is sent", async || Ok(sender.send(Lane::All, flush(me, 3, 10)).await.ok())).await?;
        send(&mut **sender, Lane::All, flush(me, 4, 10)).await?;
        for receiver in [&mut own, &mut hearer] {
            let heard = hear_until(&mut **receiver, me, 4).await?;
            ensure!(heard.contains(&(me.epoch.0, 3)), "{heard:?}");
        }
    }
    Ok(())
}
