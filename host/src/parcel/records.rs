//! The records of a hand-over.

use bytes::Bytes;
use bytestring::ByteString;

use super::Malformed;
use super::codec::{Reader, Writer};

/// Parts of a topic, such as its entries, have about this many bytes.
pub const PART_BYTES: usize = 1 << 20;

/// A record of a hand-over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The secret of the clients' keys in histories.
    ClientSecret([u8; 32]),
    /// A socket, to which members refer.
    Socket(SocketRecord),
    /// A topic with its members, and its room if it has one.
    Topic(TopicRecord),
    /// Entries of the last topic.
    Entries(Vec<EntryRecord>),
    /// The history of the last topic, without its broadcasts.
    History(HistoryRecord),
    /// Broadcasts of the last history, in their order.
    Broadcasts(Vec<BroadcastRecord>),
    /// The end, with the number of records before it.
    End(u64),
}

/// The facts about a socket that its members need for their `terminate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketRecord {
    /// The number by which members refer to it.
    pub number: u32,
    /// Its id, if it has one.
    pub socket_id: Option<ByteString>,
    /// Its user, if it has one.
    pub user: Option<ByteString>,
    /// Its claims, a JSON object.
    pub claims: ByteString,
    /// Whether it is a long-poll session.
    pub is_longpoll: bool,
    /// The parameters that it connected with, a JSON object.
    pub connect_params: ByteString,
    /// Names and values of its headers.
    pub x_headers: Vec<(ByteString, ByteString)>,
    /// Its `traceparent`, if it belongs to a trace.
    pub traceparent: Option<ByteString>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRecord {
    /// Its name.
    pub topic: ByteString,
    /// The members, whose connections end with the host that hands over.
    pub members: Vec<MemberRecord>,
    /// Its room, if one is open.
    pub room: Option<RoomRecord>,
}

/// A member of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRecord {
    /// Its number, which seats and plugins know.
    pub id: u64,
    /// The number of its socket.
    pub socket: u32,
    /// The JSON text of its join ref.
    pub join_ref: ByteString,
    /// The plugin that admitted it.
    pub plugin: ByteString,
    /// Its assigns.
    pub assigns: StateRecord,
    /// Its seat, if it has one.
    pub seat: Option<ByteString>,
}

/// A state, with the version that wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateRecord {
    /// Its bytes.
    pub bytes: Bytes,
    /// The version.
    pub version: u32,
}

/// A topic's room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomRecord {
    /// The plugin that it belongs to.
    pub plugin: ByteString,
    /// Whether its state and its entries are in the store, and so not in this record.
    pub is_durable: bool,
    /// The state of a memory room, if one was written.
    pub state: Option<StateRecord>,
    /// The state of a memory room before a build on probation upgraded it, in its stored form.
    pub former: Option<Bytes>,
    /// The probation whose rollback leaves the room and its entries as they are.
    pub given_up: Option<u64>,
    /// The seats.
    pub seats: Vec<SeatRecord>,
    /// The ticks, if it has some.
    pub tick: Option<TickRecord>,
    /// The number and the text of the published state, if there is one.
    pub published: Option<(u64, ByteString)>,
}

/// A seat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatRecord {
    /// Its name.
    pub name: ByteString,
    /// The length of its grace period, in milliseconds.
    pub grace_ms: u64,
    /// The rest of its grace period, while no member has it.
    pub left_ms: Option<u64>,
    /// The numbers of the members that have it.
    pub members: Vec<u64>,
}

/// The ticks of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickRecord {
    /// The period, in nanoseconds.
    pub period_ns: u64,
    /// The number of the last tick.
    pub number: u64,
}

/// An entry of a memory room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryRecord {
    /// The key.
    pub key: Bytes,
    /// The version that wrote it.
    pub version: u32,
    /// The value.
    pub value: Bytes,
}

/// The history of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRecord {
    /// Its identity.
    pub epoch: u64,
    /// The number of the last broadcast.
    pub last: u64,
    /// How many broadcasts it keeps at most.
    pub count: u32,
    /// For how long it keeps a broadcast, in milliseconds.
    pub age_ms: u64,
    /// The clients of members, by the numbers of these.
    pub clients: Vec<(u64, u64)>,
}

/// A broadcast in a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BroadcastRecord {
    /// How long ago it was made, in milliseconds.
    pub ago_ms: u64,
    /// Its event.
    pub event: ByteString,
    /// Its payload.
    pub payload: PayloadRecord,
    /// The clients that don't get it.
    pub except: Vec<u64>,
}

/// A payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadRecord {
    /// JSON text.
    Json(ByteString),
    /// Bytes.
    Binary(Bytes),
}

impl Default for PayloadRecord {
    fn default() -> Self {
        Self::Json(ByteString::new())
    }
}

const SOCKET: u8 = 1;
const TOPIC: u8 = 2;
const ENTRIES: u8 = 3;
const HISTORY: u8 = 4;
const BROADCASTS: u8 = 5;
const END: u8 = 6;
const CLIENT_SECRET: u8 = 7;

impl Record {
    /// Its bytes, after its version.
    pub(super) fn encode(&self, version: u8) -> Bytes {
        let mut writer = Writer::default();
        let to = &mut writer;
        to.u8(version);
        match self {
            Self::ClientSecret(secret) => {
                to.u8(CLIENT_SECRET);
                to.bytes(secret);
            }
            Self::Socket(socket) => {
                to.u8(SOCKET);
                socket.write(to);
            }
            Self::Topic(topic) => {
                to.u8(TOPIC);
                topic.write(to);
            }
            Self::Entries(entries) => {
                to.u8(ENTRIES);
                to.list(entries, |to, entry| {
                    to.bytes(&entry.key);
                    to.u32(entry.version);
                    to.bytes(&entry.value);
                });
            }
            Self::History(history) => {
                to.u8(HISTORY);
                to.u64(history.epoch);
                to.u64(history.last);
                to.u32(history.count);
                to.u64(history.age_ms);
                to.list(&history.clients, |to, (member, client)| {
                    to.u64(*member);
                    to.u64(*client);
                });
            }
            Self::Broadcasts(broadcasts) => {
                to.u8(BROADCASTS);
                to.list(broadcasts, |to, broadcast| broadcast.write(to));
            }
            Self::End(records) => {
                to.u8(END);
                to.u64(*records);
            }
        }
        writer.finish()
    }

    /// Reads a record of the present version.
    pub(super) fn decode(body: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let from = &mut reader;
        let record = match from.u8()? {
            CLIENT_SECRET => Self::ClientSecret((&*from.bytes()?).try_into().map_err(|_| Malformed)?),
            SOCKET => Self::Socket(SocketRecord::read(from)?),
            TOPIC => Self::Topic(TopicRecord::read(from)?),
            ENTRIES => Self::Entries(
                from.list(|from| Ok(EntryRecord { key: from.bytes()?, version: from.u32()?, value: from.bytes()? }))?,
            ),
            HISTORY => Self::History(HistoryRecord {
                epoch: from.u64()?,
                last: from.u64()?,
                count: from.u32()?,
                age_ms: from.u64()?,
                clients: from.list(|from| Ok((from.u64()?, from.u64()?)))?,
            }),
            BROADCASTS => Self::Broadcasts(from.list(BroadcastRecord::read)?),
            END => Self::End(from.u64()?),
            _ => return Err(Malformed),
        };
        reader.finish()?;
        Ok(record)
    }
}

impl SocketRecord {
    fn write(&self, to: &mut Writer) {
        to.u32(self.number);
        to.option(self.socket_id.as_ref(), |to, id| to.text(id));
        to.option(self.user.as_ref(), |to, user| to.text(user));
        to.text(&self.claims);
        to.flag(self.is_longpoll);
        to.text(&self.connect_params);
        to.list(&self.x_headers, |to, (name, value)| {
            to.text(name);
            to.text(value);
        });
        to.option(self.traceparent.as_ref(), |to, trace| to.text(trace));
    }

    fn read(from: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            number: from.u32()?,
            socket_id: from.option(Reader::text)?,
            user: from.option(Reader::text)?,
            claims: from.text()?,
            is_longpoll: from.flag()?,
            connect_params: from.text()?,
            x_headers: from.list(|from| Ok((from.text()?, from.text()?)))?,
            traceparent: from.option(Reader::text)?,
        })
    }
}

impl StateRecord {
    fn write(&self, to: &mut Writer) {
        to.u32(self.version);
        to.bytes(&self.bytes);
    }

    fn read(from: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { version: from.u32()?, bytes: from.bytes()? })
    }
}

impl TopicRecord {
    fn write(&self, to: &mut Writer) {
        to.text(&self.topic);
        to.list(&self.members, |to, member| {
            to.u64(member.id);
            to.u32(member.socket);
            to.text(&member.join_ref);
            to.text(&member.plugin);
            member.assigns.write(to);
            to.option(member.seat.as_ref(), |to, seat| to.text(seat));
        });
        to.option(self.room.as_ref(), |to, room| room.write(to));
    }

    fn read(from: &mut Reader) -> Result<Self, Malformed> {
        let member = |from: &mut Reader| {
            Ok(MemberRecord {
                id: from.u64()?,
                socket: from.u32()?,
                join_ref: from.text()?,
                plugin: from.text()?,
                assigns: StateRecord::read(from)?,
                seat: from.option(Reader::text)?,
            })
        };
        Ok(Self { topic: from.text()?, members: from.list(member)?, room: from.option(RoomRecord::read)? })
    }
}

impl RoomRecord {
    fn write(&self, to: &mut Writer) {
        to.text(&self.plugin);
        to.flag(self.is_durable);
        to.option(self.state.as_ref(), |to, state| state.write(to));
        to.option(self.former.as_ref(), |to, former| to.bytes(former));
        to.option(self.given_up, Writer::u64);
        to.list(&self.seats, |to, seat| {
            to.text(&seat.name);
            to.u64(seat.grace_ms);
            to.option(seat.left_ms, Writer::u64);
            to.list(&seat.members, |to, member| to.u64(*member));
        });
        to.option(self.tick, |to, tick| {
            to.u64(tick.period_ns);
            to.u64(tick.number);
        });
        to.option(self.published.as_ref(), |to, (number, text)| {
            to.u64(*number);
            to.text(text);
        });
    }

    fn read(from: &mut Reader) -> Result<Self, Malformed> {
        let seat = |from: &mut Reader| {
            Ok(SeatRecord {
                name: from.text()?,
                grace_ms: from.u64()?,
                left_ms: from.option(Reader::u64)?,
                members: from.list(Reader::u64)?,
            })
        };
        Ok(Self {
            plugin: from.text()?,
            is_durable: from.flag()?,
            state: from.option(StateRecord::read)?,
            former: from.option(Reader::bytes)?,
            given_up: from.option(Reader::u64)?,
            seats: from.list(seat)?,
            tick: from.option(|from| Ok(TickRecord { period_ns: from.u64()?, number: from.u64()? }))?,
            published: from.option(|from| Ok((from.u64()?, from.text()?)))?,
        })
    }
}

impl BroadcastRecord {
    fn write(&self, to: &mut Writer) {
        to.u64(self.ago_ms);
        to.text(&self.event);
        match &self.payload {
            PayloadRecord::Json(text) => {
                to.flag(false);
                to.text(text);
            }
            PayloadRecord::Binary(bytes) => {
                to.flag(true);
                to.bytes(bytes);
            }
        }
        to.list(&self.except, |to, client| to.u64(*client));
    }

    fn read(from: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            ago_ms: from.u64()?,
            event: from.text()?,
            payload: if from.flag()? {
                PayloadRecord::Binary(from.bytes()?)
            } else {
                PayloadRecord::Json(from.text()?)
            },
            except: from.list(Reader::u64)?,
        })
    }
}
