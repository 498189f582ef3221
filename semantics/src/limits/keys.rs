//! The keys of the configuration's table `limits` that faults name.

#[cfg(doc)]
use super::{CallLimits, DeliveryLimits, EntryLimits, JobLimits, NodeLimits, StoreLimits};

/// Sets [`CallLimits::cpu`].
pub const CALL_CPU_MS: &str = "call_cpu_ms";
/// Sets [`CallLimits::init_cpu`].
pub const INIT_CPU_MS: &str = "init_cpu_ms";
/// Sets [`CallLimits::wall`].
pub const CALL_WALL_MS: &str = "call_wall_ms";
/// Sets [`CallLimits::memory_bytes`].
pub const MEMORY_BYTES: &str = "memory_bytes";
/// Sets [`CallLimits::assigns_bytes`].
pub const ASSIGNS_BYTES: &str = "assigns_bytes";
/// Sets [`CallLimits::room_bytes`].
pub const ROOM_BYTES: &str = "room_bytes";
/// Sets [`CallLimits::effects`].
pub const EFFECTS_PER_CALL: &str = "effects_per_call";
/// Sets [`CallLimits::effect_bytes`].
pub const EFFECT_BYTES: &str = "effect_bytes";
/// Sets [`CallLimits::timers`].
pub const TIMERS_PER_MEMBER: &str = "timers_per_member";
/// Sets [`CallLimits::timer_shortest`].
pub const TIMER_SHORTEST_MS: &str = "timer_shortest_ms";
/// Sets [`CallLimits::presences`].
pub const PRESENCES_PER_MEMBER: &str = "presences_per_member";
/// Sets [`CallLimits::presence_bytes`].
pub const PRESENCE_BYTES: &str = "presence_bytes";
/// Sets [`CallLimits::subscriptions`].
pub const SUBSCRIPTIONS_PER_MEMBER: &str = "subscriptions_per_member";
/// Sets [`CallLimits::log_lines`].
pub const LOG_LINES_PER_CALL: &str = "log_lines_per_call";
/// Sets [`CallLimits::http_gets`].
pub const HTTP_GETS_PER_CALL: &str = "http_gets_per_call";
/// Sets the bytes of a request's body.
pub const HTTP_SENT_BYTES: &str = "http_sent_bytes";
/// Sets [`StoreLimits::key_bytes`].
pub const STORE_KEY_BYTES: &str = "store_key_bytes";
/// Sets [`StoreLimits::value_bytes`].
pub const STORE_VALUE_BYTES: &str = "store_value_bytes";
/// Sets [`StoreLimits::writes_per_call`].
pub const STORE_WRITES_PER_CALL: &str = "store_writes_per_call";
/// Sets [`StoreLimits::write_bytes_per_call`].
pub const STORE_WRITE_BYTES_PER_CALL: &str = "store_write_bytes_per_call";
/// Sets [`NodeLimits::from_elsewhere`].
pub const MAILBOX_FROM_ELSEWHERE: &str = "mailbox_from_elsewhere";
/// Sets [`NodeLimits::bytes_from_elsewhere`].
pub const MAILBOX_BYTES_FROM_ELSEWHERE: &str = "mailbox_bytes_from_elsewhere";

/// Sets [`EntryLimits::value_bytes`].
pub const ENTRY_BYTES: &str = "entry_bytes";
/// Sets [`EntryLimits::writes_per_call`].
pub const ENTRY_WRITES_PER_CALL: &str = "entry_writes_per_call";
/// Sets [`EntryLimits::write_bytes_per_call`].
pub const ENTRY_WRITE_BYTES_PER_CALL: &str = "entry_write_bytes_per_call";
/// Sets [`EntryLimits::bytes_per_topic`].
pub const ENTRIES_BYTES_PER_TOPIC: &str = "entries_bytes_per_topic";
/// Sets [`EntryLimits::memory_bytes`].
pub const ENTRIES_MEMORY_BYTES: &str = "entries_memory_bytes";
/// Sets [`EntryLimits::rollback_bytes`].
pub const ENTRIES_ROLLBACK_BYTES: &str = "entries_rollback_bytes";
/// Sets [`EntryLimits::published_bytes`].
pub const PUBLISHED_BYTES: &str = "published_bytes";
/// Sets [`EntryLimits::follows_per_member`].
pub const FOLLOWS_PER_MEMBER: &str = "follows_per_member";

/// Sets [`JobLimits::per_topic`].
pub const SCHEDULES_PER_TOPIC: &str = "schedules_per_topic";
/// Sets [`JobLimits::per_plugin`].
pub const SCHEDULES_PER_PLUGIN: &str = "schedules_per_plugin";
/// Sets [`JobLimits::bytes_per_plugin`].
pub const SCHEDULE_BYTES_PER_PLUGIN: &str = "schedule_bytes_per_plugin";

/// Sets [`DeliveryLimits::per_plugin`].
pub const DELIVERIES_PER_PLUGIN: &str = "deliveries_per_plugin";
/// Sets [`DeliveryLimits::bytes_per_plugin`].
pub const DELIVERY_BYTES_PER_PLUGIN: &str = "delivery_bytes_per_plugin";

/// The keys that the host's configuration has, for a test of the host.
pub const ALL: [&str; 35] = [
    CALL_CPU_MS,
    INIT_CPU_MS,
    CALL_WALL_MS,
    MEMORY_BYTES,
    ASSIGNS_BYTES,
    ROOM_BYTES,
    EFFECTS_PER_CALL,
    EFFECT_BYTES,
    TIMERS_PER_MEMBER,
    TIMER_SHORTEST_MS,
    PRESENCES_PER_MEMBER,
    PRESENCE_BYTES,
    SUBSCRIPTIONS_PER_MEMBER,
    LOG_LINES_PER_CALL,
    HTTP_GETS_PER_CALL,
    HTTP_SENT_BYTES,
    STORE_KEY_BYTES,
    STORE_VALUE_BYTES,
    STORE_WRITES_PER_CALL,
    STORE_WRITE_BYTES_PER_CALL,
    ENTRY_BYTES,
    ENTRY_WRITES_PER_CALL,
    ENTRY_WRITE_BYTES_PER_CALL,
    ENTRIES_BYTES_PER_TOPIC,
    ENTRIES_MEMORY_BYTES,
    ENTRIES_ROLLBACK_BYTES,
    PUBLISHED_BYTES,
    FOLLOWS_PER_MEMBER,
    MAILBOX_FROM_ELSEWHERE,
    MAILBOX_BYTES_FROM_ELSEWHERE,
    SCHEDULES_PER_TOPIC,
    SCHEDULES_PER_PLUGIN,
    SCHEDULE_BYTES_PER_PLUGIN,
    DELIVERIES_PER_PLUGIN,
    DELIVERY_BYTES_PER_PLUGIN,
];
