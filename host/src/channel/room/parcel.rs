//! A topic's room as it is handed over to another host, and taken over from one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use tokio::time::Instant;

use super::durable::probation_of;
use super::lifecycle::open;
use super::room::Room;
use super::seating::keep_seat;
use super::ticks::continue_ticks;
use super::topics::TopicTurns;
use crate::channel::turn::{Former, Saved};
use crate::contract::{Fault, Published};
use crate::parcel::{EntryRecord, PART_BYTES, RoomRecord, SeatRecord, StateRecord, TickRecord};
use crate::routes::Route;

/// The time that passes for clients between the moment in which a host puts its state down and their return to its
/// successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// How long ago the state was put down.
    pub paused: Duration,
    /// How long rooms and seats wait for clients in addition to their own times. The connections end one after another,
    /// and not by the clients' will.
    pub grace: Duration,
}

/// The open room of a topic, apart from its entries. No turn may run.
pub(in crate::channel) fn pack_room(topic: &TopicTurns) -> Option<RoomRecord> {
    let mut room = topic.room();
    let room = room.as_mut()?;
    let now = Instant::now();
    let seats = room.seats().all().map(|(name, seat)| SeatRecord {
        name: name.clone(),
        grace_ms: milliseconds(seat.grace),
        left_ms: seat.until.map(|until| milliseconds(until.saturating_duration_since(now))),
        members: seat.members.to_vec(),
    });
    let seats = seats.collect();
    let tick = room.ticks().map(|ticks| TickRecord {
        period_ns: u64::try_from(ticks.period().as_nanos()).unwrap_or(u64::MAX),
        number: ticks.number(),
    });
    let mut record = RoomRecord {
        plugin: ByteString::from(room.owner_name()),
        is_durable: room.is_durable(),
        seats,
        tick,
        published: room.published().map(|published| (published.number(), published.text().clone())),
        ..RoomRecord::default()
    };
    if !record.is_durable {
        let saved = room.saved();
        record.state = saved.map(|saved| StateRecord { bytes: saved.bytes.clone(), version: saved.version });
        match (room.entries(), saved.and_then(Saved::rollback_point)) {
            // The entries from before aren't handed over, and a rollback restores both or neither.
            (Some(_), Some(probation)) => record.given_up = Some(probation),
            (Some(entries), None) => record.given_up = entries.given_up(),
            (None, _) => record.former = saved.and_then(|saved| saved.former(None)).map(|former| former.encode()),
        }
    }
    Some(record)
}

/// The entries of a memory room from a key on, about [`PART_BYTES`] of them. Returns the key from which to continue, if
/// there are more.
pub(in crate::channel) fn pack_entries(topic: &TopicTurns, from: &[u8]) -> (Vec<EntryRecord>, Option<Bytes>) {
    let entries = topic.room().as_ref().filter(|room| !room.is_durable()).and_then(|room| room.entries().cloned());
    let Some(entries) = entries else { return (Vec::new(), None) };
    let (mut part, mut bytes, mut next) = (Vec::new(), 0, None);
    entries.each_in_memory(from, |key, version, value| {
        if bytes >= PART_BYTES {
            next = Some(Bytes::copy_from_slice(key));
            return false;
        }
        bytes += key.len() + value.len();
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        part.push(EntryRecord { key, version, value });
        true
    });
    (part, next)
}

/// Opens a topic's room as another host has put it down. No turn may run. Returns whether the room was taken over: it
/// isn't if its plugin doesn't serve the topic any more, or serves it without rooms.
///
/// # Errors
/// If it is durable and can't be read.
pub(in crate::channel) async fn adopt_room(
    topic: &Arc<TopicTurns>,
    record: RoomRecord,
    entries: Vec<EntryRecord>,
    takeover: Takeover,
) -> Result<bool, Fault> {
    let services = topic.services();
    let route = services.routes.find(topic.name.as_str());
    let Some(route) = route.filter(|route| *route.plugin == *record.plugin && route.spec.has_room()) else {
        return Ok(false);
    };
    // A memory room whose build was replaced by one with durable rooms becomes durable in its next turn.
    if record.is_durable && open(topic, &route).await? {
        tracing::debug!(topic = topic.name.as_str(), "the room was rolled back when it was taken over");
    }
    let RoomRecord { state, former, given_up, seats, tick, published, .. } = record;
    {
        let mut room = topic.room();
        let room = room.get_or_insert_with(|| Box::new(Room::new(route.owner.clone())));
        if !room.is_durable() {
            room.open_entries(&route, &topic.name, services);
            if let Some(of_room) = room.entries() {
                of_room.take_over(entries.iter().map(|entry| (&*entry.key, entry.version, &*entry.value)));
                given_up.into_iter().for_each(|probation| of_room.give_up_rollback(probation));
            }
            room.take_over(state.map(|state| saved_of(topic, &route, state, former)));
        }
        room.hold(Instant::now() + takeover.grace);
        room.set_published(published.map(|(number, text)| Published::taken_over(number, text.into())));
    }
    for seat in seats {
        keep_seat(topic, seat, takeover.grace);
    }
    if let Some(TickRecord { period_ns, number }) = tick {
        let period = Duration::from_nanos(period_ns.max(1));
        continue_ticks(topic, period, number, takeover.paused);
    }
    Ok(true)
}

fn saved_of(topic: &TopicTurns, route: &Route, state: StateRecord, former: Option<Bytes>) -> Saved {
    let StateRecord { bytes, version } = state;
    let saved = Saved::new(bytes, version);
    match former.and_then(Former::decode) {
        Some(former) => {
            let probation = probation_of(topic.services(), route, &former, version);
            saved.with_former(former, probation)
        }
        None => saved,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
