//! How often each limit was reached.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! limits {
    ($($name:ident = $label:literal,)*) => {
        /// A limit that counts how often it was reached. docs/limits.md lists them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Limit {
            $($name,)*
        }

        impl Limit {
            /// All limits, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns its key in the configuration's table `limits`, or its name in docs/limits.md, if it is fixed.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }

        static HITS: [AtomicU64; Limit::ALL.len()] = [const { AtomicU64::new(0) }; Limit::ALL.len()];
    };
}

limits! {
    FrameBytes = "frame_bytes",
    ChannelsPerSocket = "channels_per_socket",
    MessagesPerSecond = "messages_per_second",
    MailboxFromClient = "mailbox_from_client",
    MailboxBytesFromClient = "mailbox_bytes_from_client",
    MailboxFromElsewhere = "mailbox_from_elsewhere",
    MailboxBytesFromElsewhere = "mailbox_bytes_from_elsewhere",
    OutboxFrames = "outbox_frames",
    OutboxBytes = "outbox_bytes",
    Sockets = "sockets",
    IdleMs = "idle_ms",
    LongpollWindowMs = "longpoll_window_ms",
    StopMs = "stop_ms",
    Instances = "instances",
    InstancesPerPlugin = "instances_per_plugin",
    CallsPerInstance = "calls_per_instance",
    CallCpuMs = "call_cpu_ms",
    InitCpuMs = "init_cpu_ms",
    CallWallMs = "call_wall_ms",
    MemoryBytes = "memory_bytes",
    AssignsBytes = "assigns_bytes",
    RoomBytes = "room_bytes",
    StoreKeyBytes = "store_key_bytes",
    StoreValueBytes = "store_value_bytes",
    StoreWritesPerCall = "store_writes_per_call",
    StoreWriteBytesPerCall = "store_write_bytes_per_call",
    StoreBytesPerPlugin = "store_bytes_per_plugin",
    StoreCacheBytes = "store_cache_bytes",
    SchedulesPerTopic = "schedules_per_topic",
    SchedulesPerPlugin = "schedules_per_plugin",
    ScheduleBytesPerPlugin = "schedule_bytes_per_plugin",
    DeliveriesPerPlugin = "deliveries_per_plugin",
    DeliveryBytesPerPlugin = "delivery_bytes_per_plugin",
    EntryBytes = "entry_bytes",
    EntryWritesPerCall = "entry_writes_per_call",
    EntryWriteBytesPerCall = "entry_write_bytes_per_call",
    EntriesBytesPerTopic = "entries_bytes_per_topic",
    EntriesMemoryBytes = "entries_memory_bytes",
    EntriesCacheBytes = "entries_cache_bytes",
    EntriesDirtyBytes = "entries_dirty_bytes",
    EntriesRollbackBytes = "entries_rollback_bytes",
    PublishedBytes = "published_bytes",
    PublishedMissedBytes = "published_missed_bytes",
    FollowsPerMember = "follows_per_member",
    EffectsPerCall = "effects_per_call",
    EffectBytes = "effect_bytes",
    TimersPerMember = "timers_per_member",
    TimerShortestMs = "timer_shortest_ms",
    PresencesPerMember = "presences_per_member",
    PresenceBytes = "presence_bytes",
    PresenceBurst = "presence_burst",
    PresenceWindowMs = "presence_window_ms",
    HistoryBytesPerTopic = "history_bytes_per_topic",
    HistoryBytes = "history_bytes",
    SubscriptionsPerMember = "subscriptions_per_member",
    LogLinesPerCall = "log_lines_per_call",
    HttpGetsPerCall = "http_gets_per_call",
    HttpGetMs = "http_get_ms",
    HttpMs = "http_ms",
    HttpSentBytes = "http_sent_bytes",
    HttpReceivedBytes = "http_received_bytes",
    HttpRequestsPerMember = "http_requests_per_member",
    HttpRequestsPerTopic = "http_requests_per_topic",
    HttpDeliveryMs = "http_delivery_ms",
    HttpAtOncePerPlugin = "http_at_once_per_plugin",
    HttpAtOnce = "http_at_once",
    // Of sockets, users and addresses.
    SocketJoins = "socket_joins",
    SocketMessages = "socket_messages",
    SocketBytes = "socket_bytes",
    UserConnections = "user_connections",
    UserConnects = "user_connects",
    UserJoins = "user_joins",
    UserMessages = "user_messages",
    UserBytes = "user_bytes",
    UserFaults = "user_faults",
    AddressConnections = "address_connections",
    AddressConnects = "address_connects",
    AddressJoins = "address_joins",
    AddressMessages = "address_messages",
    AddressBytes = "address_bytes",
    AddressFaults = "address_faults",
    PluginSetAside = "plugin_set_aside",
    // Fixed limits.
    RefusedMessages = "refused_messages",
    NameBytes = "name_bytes",
    RequestHead = "request_head",
    LongpollBody = "longpoll_body",
    ApiBody = "api_body",
    KickReason = "kick_reason",
    IdempotencyKey = "idempotency_key",
    WaitMs = "wait_ms",
    IdempotencyAnswers = "idempotency_answers",
    EventStreams = "event_streams",
    EventsKept = "events_kept",
    EventTopics = "event_topics",
    DashboardSessions = "dashboard_sessions",
    DashboardSockets = "dashboard_sockets",
    SignIns = "sign_ins",
    RecentFaults = "recent_faults",
    Connections = "connections",
    LogLinesOfClients = "log_lines_of_clients",
    LogLinesOfFaults = "log_lines_of_faults",
    LogLinesOfPlugins = "log_lines_of_plugins",
    LogQueue = "log_queue",
    HandleOutQueue = "handle_out_queue",
    TopicMessagesPerPlugin = "topic_messages_per_plugin",
    HandleOutFaults = "handle_out_faults",
    TickQueue = "tick_queue",
    TickFaults = "tick_faults",
    HttpWaitingCalls = "http_waiting_calls",
    HttpAnswerQueue = "http_answer_queue",
    WebhookPayload = "webhook_payload",
    ScheduleTries = "schedule_tries",
    IdleRooms = "idle_rooms",
    PublishedTexts = "published_texts",
    OutboxForStates = "outbox_for_states",
    HistoryCount = "history_count",
    OutboxForMissed = "outbox_for_missed",
    RecoveryClient = "recovery_client",
    OutboxForDroppables = "outbox_for_droppables",
    Backpressure = "backpressure",
    StoreConflicts = "store_conflicts",
    StoreReadsAtOnce = "store_reads_at_once",
    StoreLogFiles = "store_log_files",
    StoreReplacedValues = "store_replaced_values",
    HandOver = "hand_over",
}

impl Limit {
    /// Counts that it was reached. The number is an atomic that all threads share, because a limit is reached rarely.
    #[cold]
    pub fn hit(self) {
        // Relaxed, because no other memory is read by its value.
        HITS[self as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often it was reached since the start.
    #[must_use]
    pub fn hits(self) -> u64 {
        HITS[self as usize].load(Ordering::Relaxed)
    }

    /// Counts each limit whose key a text of the host names: `limits.KEY`, or `plugins.NAME.KEY`, in backticks. The text of a
    /// fault does that. So each limit whose excess is a fault counts without a second list of places. A key that isn't known
    /// counts for nothing.
    pub fn hit_named(text: &str) {
        for quoted in text.split('`').skip(1).step_by(2) {
            let name = quoted.split(' ').next().unwrap_or_default();
            let key = match name.strip_prefix("plugins.") {
                Some(of_plugin) => of_plugin.rsplit('.').next(),
                None => name.strip_prefix("limits."),
            };
            let limit = Self::ALL.iter().find(|limit| key == Some(limit.as_str()));
            limit.into_iter().for_each(|limit| limit.hit());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_limit_has_its_own_name_and_count() {
        let names: HashSet<_> = Limit::ALL.iter().map(|limit| limit.as_str()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
        assert!(Limit::ALL.iter().enumerate().all(|(number, limit)| *limit as usize == number));
    }

    #[test]
    fn a_text_counts_the_limits_that_it_names() {
        // Other tests of the library may reach these limits at the same time.
        let hits = || [Limit::PresenceBytes, Limit::StopMs].map(Limit::hits);
        let before = hits();
        Limit::hit_named("a presence of 5 bytes; the limit is 4 (`limits.presence_bytes = 4`)");
        Limit::hit_named(
            "a queue is full (`limits.presence_bytes`, `limits.stop_ms`), `limits.`, `limits.unknown`, `limit",
        );
        Limit::hit_named("it ran for too long (`plugins.a.b.presence_bytes = 4`)");
        let after = hits();
        assert!(after[0] >= before[0] + 3 && after[1] > before[1], "{before:?} {after:?}");
    }
}
