//! All limits that can be configured: name, unit, default, and what happens past the limit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bennu_outbound::OutboundLimits;
use serde::Deserialize;

use super::scope_limits::{AddressLimits, SocketRates, UserLimits};
use crate::channel::NodeLimits;
use crate::clients::ClientLimits;
use crate::contract::limits::{DeliveryLimits, EntryLimits, JobLimits};
use crate::contract::{CallLimits, HttpLimits};
use crate::entries::CacheLimits;
use crate::plugin::{INSTANCES, PoolLimits};
use crate::presence::Pace;
use crate::pubsub::{HistoryLimits, OutboxLimits};
use crate::socket::SocketLimits;
use crate::store::{QUOTA_BYTES, StoreLimits};
use crate::transport::WireLimits;

/// The table `limits` of the configuration. A missing key has its default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a message from a client. Past it: close 1009. Default 1 MiB.
    pub frame_bytes: usize,
    /// Channels joined on one socket. Past it: error reply. Default 100.
    pub channels_per_socket: usize,
    /// Messages per second from one socket; 0 means no limit. Past it: error reply; past twice the limit: close 1008. Default
    /// 0.
    pub messages_per_second: u32,
    /// Messages from a client that are queued for one channel. Past it: the host stops reading that socket. Default 64.
    pub mailbox_from_client: usize,
    /// Bytes of those messages, for all channels of a socket. Past it: the host stops reading that socket. Default 4 MiB.
    pub mailbox_bytes_from_client: usize,
    /// Messages from elsewhere that are queued for one channel, and topic messages that are queued for one topic. Past it:
    /// fault, overflow. Default 1,024.
    pub mailbox_from_elsewhere: usize,
    /// Bytes of those messages, and of the member's timers. Past it: fault, overflow. Default 4 MiB.
    pub mailbox_bytes_from_elsewhere: usize,
    /// Frames in the outbox of a socket. Past it: close 1013. Default 1,024.
    pub outbox_frames: usize,
    /// Bytes of those frames. Past it: close 1013. Default 4 MiB.
    pub outbox_bytes: usize,
    /// Open sockets; 0 means the process's file limit minus a reserve. Past it: HTTP 503. Default 0.
    pub sockets: usize,
    /// Milliseconds in which a client sends nothing. Past it: close 1002. Default 60,000.
    pub idle_ms: u64,
    /// Milliseconds that a long poll waits for a message. Past it: status 204. A session without a poll for 1.5 times as long
    /// ends. Default 10,000.
    pub longpoll_window_ms: u64,
    /// Milliseconds that a stop may take. Past it: the host exits anyway. Default 10,000.
    pub stop_ms: u64,
    /// Instances of all plugins together. Past it: calls wait. Address space is reserved for them, if the process can get it.
    /// Default 4,096.
    pub instances: u32,
    /// Instances of one plugin. Past it: calls wait. Default 32.
    pub instances_per_plugin: usize,
    /// Calls after which an instance is replaced. Default 100,000.
    pub calls_per_instance: u32,
    /// Milliseconds of CPU time of one call. Past it: fault, deadline. Default 500.
    pub call_cpu_ms: u64,
    /// Milliseconds of CPU time of the evaluation of a script in a new instance. Past it: fault, deadline. Default 500.
    pub init_cpu_ms: u64,
    /// Milliseconds that one call may take. Past it: fault, deadline. Default 5,000.
    pub call_wall_ms: u64,
    /// Bytes of linear memory of one instance. Past it: the guest gets no more, and a trap that follows is fault, memory.
    /// Default 64 MiB.
    pub memory_bytes: usize,
    /// Bytes of a member's assigns. Past it: fault, oversize. Default 16 KiB.
    pub assigns_bytes: usize,
    /// Bytes of a topic's room state. Past it: fault, oversize. Default 1 MiB.
    pub room_bytes: usize,
    /// Bytes of a key in the store. Past it: fault, oversize. Default 1,024.
    pub store_key_bytes: usize,
    /// Bytes of a value in the store. Past it: fault, oversize. Default 1 MiB.
    pub store_value_bytes: usize,
    /// Keys that one call writes in the store. Past it: fault, oversize. Default 1,024.
    pub store_writes_per_call: usize,
    /// Bytes of those keys and their values. Past it: fault, oversize. Default 4 MiB.
    pub store_write_bytes_per_call: usize,
    /// Bytes of keys, values, durable rooms and their entries that one plugin has in the store, unless its `store_bytes` sets
    /// another limit. Past it: fault, store. Default 1 GiB.
    pub store_bytes_per_plugin: u64,
    /// Schedules of one topic. Past it: fault, oversize. Default 1,000.
    pub schedules_per_topic: u64,
    /// Schedules of one plugin. Past it: fault, oversize. Default 100,000.
    pub schedules_per_plugin: u64,
    /// Bytes of the schedules of one plugin. Past it: fault, oversize. Default 64 MiB.
    pub schedule_bytes_per_plugin: u64,
    /// Deliveries of one plugin (`http.deliver`), with those that are given up. Past it: fault, oversize. Default 100,000.
    pub deliveries_per_plugin: u64,
    /// Bytes of the deliveries of one plugin. Past it: fault, oversize. Default 64 MiB.
    pub delivery_bytes_per_plugin: u64,
    /// Bytes of the store that are cached in memory. Past it: the rest is read from the disk. Default 64 MiB.
    pub store_cache_bytes: usize,
    /// Bytes of the value of an entry. Past it: fault, oversize. Default 1 MiB.
    pub entry_bytes: usize,
    /// Entries that one call writes or deletes. Past it: fault, oversize. Default 4,096.
    pub entry_writes_per_call: usize,
    /// Bytes of the keys and values that one call writes, and of the keys that it deletes. Past it: fault, oversize. Default
    /// 4 MiB.
    pub entry_write_bytes_per_call: usize,
    /// Bytes of the keys and values of a topic's entries. Past it: fault, oversize. Default 1 GiB.
    pub entries_bytes_per_topic: u64,
    /// Bytes of the entries of all memory rooms, with 64 bytes more for each entry. Past it: fault, oversize. Default 256
    /// MiB.
    pub entries_memory_bytes: u64,
    /// Bytes of the entries of durable rooms that are cached in memory, with 64 bytes more for each entry. Past it: the least
    /// recently used are evicted. Default 64 MiB.
    pub entries_cache_bytes: u64,
    /// The same for a topic's entries that aren't stored yet. Past it: they are stored with the next commit. Default 8 MiB.
    pub entries_dirty_bytes: u64,
    /// Bytes of the entries of a topic that are kept for a rollback, with 64 bytes more for each entry. Past it: the topic isn't
    /// rolled back. Default 8 MiB.
    pub entries_rollback_bytes: u64,
    /// Bytes of the published entries of a topic, as JSON; at most half of `outbox_bytes`. Past it: fault, oversize. Default
    /// 2 MiB.
    pub published_bytes: u64,
    /// Bytes of the old values that are kept for members of a topic that read slowly. Past it: they get the whole state.
    /// Default 1 MiB.
    pub published_missed_bytes: usize,
    /// Prefixes of published entries that one member follows. Past it: fault, oversize. Default 64.
    pub follows_per_member: usize,
    /// Effects of one call. Past it: fault, oversize. Default 1,024.
    pub effects_per_call: usize,
    /// Bytes of those effects and the answer. Past it: fault, oversize. Default 4 MiB.
    pub effect_bytes: usize,
    /// Running timers of one member. Past it: fault, oversize. Default 16.
    pub timers_per_member: usize,
    /// The minimum duration of a timer in milliseconds. Below it: fault, oversize. Default 10.
    pub timer_shortest_ms: u64,
    /// Presences of one member. Past it: fault, oversize. Default 16.
    pub presences_per_member: usize,
    /// Bytes of a presence's meta. Past it: fault, oversize. Default 4 KiB.
    pub presence_bytes: usize,
    /// Presence diffs of a topic that are sent one by one within `presence_window_ms`. Past it: further diffs are merged into
    /// one, which is sent at the end of the window. Default 8.
    pub presence_burst: u32,
    /// Milliseconds of that window; 0 turns merging off. Default 100.
    pub presence_window_ms: u64,
    /// Bytes of the broadcasts that are kept for one topic, with 384 bytes more for each. Past it: the oldest are dropped.
    /// Default 1 MiB.
    pub history_bytes_per_topic: usize,
    /// The same for all topics, with 1,024 bytes more for each topic. Past it: the oldest are dropped. Default 64 MiB.
    pub history_bytes: usize,
    /// Further topics that one member subscribes to. Past it: fault, oversize. Default 64.
    pub subscriptions_per_member: usize,
    /// Lines that one call logs. Past it: fault, oversize. Default 256.
    pub log_lines_per_call: usize,
    /// Answers by HTTP for which one call waits. Past it: fault, oversize. Default 8.
    pub http_gets_per_call: usize,
    /// Milliseconds for such an answer. Past it: the failure `timeout`. Default 3,000.
    pub http_get_ms: u64,
    /// Milliseconds for the answer to any request by HTTP, redirects included. Past it: the failure `timeout`. Default 30,000.
    pub http_ms: u64,
    /// Bytes of the body of a request by HTTP. Past it: fault, oversize. Default 1 MiB.
    pub http_sent_bytes: usize,
    /// Bytes of the body of an answer, as it is received and as it is decoded. Past it: the failure `too-large`. Default 1 MiB.
    pub http_received_bytes: usize,
    /// Requests of one member (`http.request`) that are under way. Past it: the failure `busy`. Default 16.
    pub http_requests_per_member: usize,
    /// The same for the callbacks of one topic without a member. Past it: the failure `busy`. Default 64.
    pub http_requests_per_topic: usize,
    /// Milliseconds of one attempt of a delivery (`http.deliver`). Past it: the attempt has failed. Default 15,000.
    pub http_delivery_ms: u64,
    /// Requests by HTTP of one plugin at once. Past it: the failure `busy`. Default 32.
    pub http_at_once_per_plugin: usize,
    /// Requests by HTTP of all plugins at once. Past it: the failure `busy`. Default 256.
    pub http_at_once: usize,
    /// The rates of each socket: messages, joins, bytes. By default, there is no limit.
    pub socket: SocketRates,
    /// The limits of all sockets of a user together.
    pub user: UserLimits,
    /// The limits of all sockets of an address together.
    pub address: AddressLimits,
}

impl Default for Limits {
    fn default() -> Self {
        let (call, pool, node) = (CallLimits::default(), PoolLimits::default(), NodeLimits::default());
        let (outbox, socket, pace) = (OutboxLimits::default(), SocketLimits::default(), Pace::default());
        let (store, cache) = (StoreLimits::default(), CacheLimits::default());
        let (http, outbound) = (HttpLimits::default(), OutboundLimits::default());
        let history = HistoryLimits::default();
        Self {
            frame_bytes: 1 << 20,
            channels_per_socket: socket.channels,
            messages_per_second: 0,
            mailbox_from_client: node.from_client,
            mailbox_bytes_from_client: node.bytes_from_client,
            mailbox_from_elsewhere: node.from_elsewhere,
            mailbox_bytes_from_elsewhere: node.bytes_from_elsewhere,
            outbox_frames: outbox.frames,
            outbox_bytes: outbox.bytes,
            sockets: 0,
            idle_ms: 60_000,
            longpoll_window_ms: 10_000,
            stop_ms: 10_000,
            instances: INSTANCES,
            instances_per_plugin: pool.instances,
            calls_per_instance: pool.calls_per_instance,
            call_cpu_ms: millis(call.cpu),
            init_cpu_ms: millis(call.init_cpu),
            call_wall_ms: millis(call.wall),
            memory_bytes: call.memory_bytes,
            assigns_bytes: call.assigns_bytes,
            room_bytes: call.room_bytes,
            store_key_bytes: store.key_bytes,
            store_value_bytes: store.value_bytes,
            store_writes_per_call: store.writes_per_call,
            store_write_bytes_per_call: store.write_bytes_per_call,
            store_bytes_per_plugin: QUOTA_BYTES,
            schedules_per_topic: store.jobs.per_topic,
            schedules_per_plugin: store.jobs.per_plugin,
            schedule_bytes_per_plugin: store.jobs.bytes_per_plugin,
            deliveries_per_plugin: store.deliveries.per_plugin,
            delivery_bytes_per_plugin: store.deliveries.bytes_per_plugin,
            store_cache_bytes: store.cache_bytes,
            entry_bytes: call.entries.value_bytes,
            entry_writes_per_call: call.entries.writes_per_call,
            entry_write_bytes_per_call: call.entries.write_bytes_per_call,
            entries_bytes_per_topic: call.entries.bytes_per_topic,
            entries_memory_bytes: call.entries.memory_bytes,
            entries_cache_bytes: cache.cache_bytes,
            entries_dirty_bytes: cache.dirty_bytes,
            entries_rollback_bytes: call.entries.rollback_bytes,
            published_bytes: call.entries.published_bytes,
            published_missed_bytes: call.entries.published_missed_bytes,
            follows_per_member: call.entries.follows_per_member,
            effects_per_call: call.effects,
            effect_bytes: call.effect_bytes,
            timers_per_member: call.timers,
            timer_shortest_ms: millis(call.timer_shortest),
            presences_per_member: call.presences,
            presence_bytes: call.presence_bytes,
            presence_burst: pace.burst,
            presence_window_ms: millis(pace.window),
            history_bytes_per_topic: history.topic_bytes,
            history_bytes: history.host_bytes,
            subscriptions_per_member: call.subscriptions,
            log_lines_per_call: call.log_lines,
            http_gets_per_call: call.http_gets,
            http_get_ms: millis(http.get),
            http_ms: millis(outbound.whole),
            http_sent_bytes: outbound.sent_bytes,
            http_received_bytes: outbound.received_bytes,
            http_requests_per_member: http.requests_per_member,
            http_requests_per_topic: http.requests_per_topic,
            http_delivery_ms: millis(http.delivery),
            http_at_once_per_plugin: outbound.at_once_per_plugin,
            http_at_once: outbound.at_once,
            socket: SocketRates::default(),
            user: UserLimits::default(),
            address: AddressLimits::default(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The maximum of `instances`. Their memories then take half of the address space of a 64-bit processor.
const INSTANCES_MOST: u32 = 8_192;

/// Open files that are reserved for other purposes than sockets: the listener, the log, plugins, static files in transfer.
const FILES_RESERVED: u64 = 64;

impl Limits {
    /// Checks the ranges that the types of the fields don't express.
    ///
    /// # Errors
    /// Returns an error that names the key and the allowed range.
    pub fn check(&self) -> Result<()> {
        let at_least_one = [
            ("frame_bytes", self.frame_bytes),
            ("channels_per_socket", self.channels_per_socket),
            ("mailbox_from_client", self.mailbox_from_client),
            ("mailbox_bytes_from_client", self.mailbox_bytes_from_client),
            ("mailbox_from_elsewhere", self.mailbox_from_elsewhere),
            ("mailbox_bytes_from_elsewhere", self.mailbox_bytes_from_elsewhere),
            ("outbox_frames", self.outbox_frames),
            ("outbox_bytes", self.outbox_bytes),
            ("instances", self.instances as usize),
            ("instances_per_plugin", self.instances_per_plugin),
            ("calls_per_instance", self.calls_per_instance as usize),
        ];
        for (key, value) in at_least_one {
            if value == 0 {
                bail!("`limits.{key}` is 0; it must be at least 1");
            }
        }
        let times = [
            ("idle_ms", self.idle_ms),
            ("longpoll_window_ms", self.longpoll_window_ms),
            ("call_cpu_ms", self.call_cpu_ms),
            ("init_cpu_ms", self.init_cpu_ms),
            ("call_wall_ms", self.call_wall_ms),
            ("http_get_ms", self.http_get_ms),
            ("http_ms", self.http_ms),
            ("http_delivery_ms", self.http_delivery_ms),
        ];
        for (key, value) in times {
            if value == 0 {
                bail!("`limits.{key}` is 0; it must be at least 1");
            }
        }
        if self.instances > INSTANCES_MOST {
            bail!("`limits.instances` is {}; it must be at most {INSTANCES_MOST}", self.instances);
        }
        check_memory("limits.memory_bytes", self.memory_bytes)
    }

    pub(super) fn call(&self) -> Arc<CallLimits> {
        Arc::new(CallLimits {
            cpu: Duration::from_millis(self.call_cpu_ms),
            init_cpu: Duration::from_millis(self.init_cpu_ms),
            wall: Duration::from_millis(self.call_wall_ms),
            memory_bytes: self.memory_bytes,
            assigns_bytes: self.assigns_bytes,
            room_bytes: self.room_bytes,
            effects: self.effects_per_call,
            effect_bytes: self.effect_bytes,
            timers: self.timers_per_member,
            timer_shortest: Duration::from_millis(self.timer_shortest_ms),
            presences: self.presences_per_member,
            presence_bytes: self.presence_bytes,
            subscriptions: self.subscriptions_per_member,
            log_lines: self.log_lines_per_call,
            http_gets: self.http_gets_per_call,
            entries: self.entries(),
        })
    }

    /// The limits of entries.
    #[must_use]
    pub fn entries(&self) -> EntryLimits {
        EntryLimits {
            value_bytes: self.entry_bytes,
            writes_per_call: self.entry_writes_per_call,
            write_bytes_per_call: self.entry_write_bytes_per_call,
            bytes_per_topic: self.entries_bytes_per_topic,
            memory_bytes: self.entries_memory_bytes,
            rollback_bytes: self.entries_rollback_bytes,
            // A larger state would fit only into an outbox that is empty.
            published_bytes: self.published_bytes.min(self.outbox_bytes as u64 / 2),
            published_missed_bytes: self.published_missed_bytes,
            follows_per_member: self.follows_per_member,
        }
    }

    /// Returns the limits of the memory for the entries of durable rooms.
    #[must_use]
    pub fn entries_cache(&self) -> CacheLimits {
        CacheLimits { cache_bytes: self.entries_cache_bytes, dirty_bytes: self.entries_dirty_bytes }
    }

    /// Returns the limits of the store.
    #[must_use]
    pub fn store(&self) -> StoreLimits {
        StoreLimits {
            key_bytes: self.store_key_bytes,
            value_bytes: self.store_value_bytes,
            // A stored room has its version as a prefix.
            room_bytes: self.room_bytes.saturating_add(size_of::<u32>()),
            entry_bytes: self.entry_bytes,
            writes_per_call: self.store_writes_per_call,
            write_bytes_per_call: self.store_write_bytes_per_call,
            cache_bytes: self.store_cache_bytes,
            jobs: JobLimits {
                per_topic: self.schedules_per_topic,
                per_plugin: self.schedules_per_plugin,
                bytes_per_plugin: self.schedule_bytes_per_plugin,
            },
            deliveries: DeliveryLimits {
                per_plugin: self.deliveries_per_plugin,
                bytes_per_plugin: self.delivery_bytes_per_plugin,
            },
            ..StoreLimits::default()
        }
    }

    pub(super) fn pool(&self) -> PoolLimits {
        PoolLimits { instances: self.instances_per_plugin, calls_per_instance: self.calls_per_instance }
    }

    /// The bounds of the turn queues.
    #[must_use]
    pub fn node(&self) -> NodeLimits {
        NodeLimits {
            from_client: self.mailbox_from_client,
            bytes_from_client: self.mailbox_bytes_from_client,
            from_elsewhere: self.mailbox_from_elsewhere,
            bytes_from_elsewhere: self.mailbox_bytes_from_elsewhere,
        }
    }

    /// How fast presence diffs are sent.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace { burst: self.presence_burst, window: Duration::from_millis(self.presence_window_ms) }
    }

    /// The limits of the broadcasts that are kept for clients that join again.
    #[must_use]
    pub fn history(&self) -> HistoryLimits {
        HistoryLimits { topic_bytes: self.history_bytes_per_topic, host_bytes: self.history_bytes }
    }

    /// The limits of users and addresses.
    #[must_use]
    pub fn clients(&self) -> ClientLimits {
        ClientLimits { socket: (&self.socket).into(), user: (&self.user).into(), address: (&self.address).into() }
    }

    /// The bounds of one outbox.
    #[must_use]
    pub fn outbox(&self) -> OutboxLimits {
        OutboxLimits { frames: self.outbox_frames, bytes: self.outbox_bytes }
    }

    /// The limits of one socket.
    #[must_use]
    pub fn socket(&self) -> SocketLimits {
        let messages_per_second = (self.messages_per_second > 0).then_some(self.messages_per_second);
        SocketLimits { channels: self.channels_per_socket, messages_per_second }
    }

    pub(super) fn wire(&self) -> WireLimits {
        WireLimits {
            frame_bytes: self.frame_bytes,
            idle: Duration::from_millis(self.idle_ms),
            poll_window: Duration::from_millis(self.longpoll_window_ms),
        }
    }

    /// Returns how many sockets may be open.
    pub(super) fn sockets(&self) -> usize {
        if self.sockets == 0 { sockets_possible() } else { self.sockets }
    }

    pub(super) fn stop(&self) -> Duration {
        Duration::from_millis(self.stop_ms)
    }
}

/// Checks a limit of the memory of an instance.
///
/// # Errors
/// Returns an error that names the key and the allowed range.
pub(super) fn check_memory(key: &str, bytes: usize) -> Result<()> {
    if !(64 << 10..=4 << 30).contains(&bytes) {
        bail!("`{key}` is {bytes}; it must be from 65536 (a page) to 4294967296");
    }
    Ok(())
}

/// Raises the process's soft limit of open files to the hard limit, and returns how many sockets fit into it.
fn sockets_possible() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let found = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: found.maximum, maximum: found.maximum };
    let files = if setrlimit(Resource::Nofile, wanted).is_ok() { found.maximum } else { found.current };
    let files = files.unwrap_or(u64::MAX).saturating_sub(FILES_RESERVED);
    usize::try_from(files).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_outside_its_range_is_refused() {
        let zero = Limits { outbox_frames: 0, ..Limits::default() };
        assert!(zero.check().is_err_and(|error| error.to_string().contains("limits.outbox_frames")));
        let small = Limits { memory_bytes: 1, ..Limits::default() };
        assert!(small.check().is_err_and(|error| error.to_string().contains("from 65536")));
        assert!(Limits::default().check().is_ok());
    }

    #[test]
    fn a_key_that_a_fault_names_is_a_key_of_the_configuration() {
        for key in crate::contract::limits::keys::ALL {
            let read: Result<Limits, _> = toml::from_str(&format!("{key} = 1"));
            assert!(read.is_ok(), "there is no `limits.{key}`");
        }
    }
}
