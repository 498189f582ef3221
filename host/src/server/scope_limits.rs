//! The tables `limits.socket`, `limits.user` and `limits.address`.

use serde::Deserialize;

use crate::clients::{MessageRates, RateLimit, ScopeLimits};

// A macro, because the two tables differ only in one default.
macro_rules! scope_table {
    ($(#[$doc:meta])* $name:ident, $faults:literal) => {
        $(#[$doc])*
        ///
        /// Only faults are limited by default. The host can't know what is usual for an application, and not even whether an
        /// address is that of one client: it may be a company's, or that of a proxy that isn't configured, with all clients
        /// behind it.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// Open sockets; 0 means no limit. Past it: HTTP 429. Default 0.
            pub connections: u64,
            /// Attempts to connect per second; 0 means no limit. Past it: HTTP 429. Default 0.
            pub connects_per_second: u64,
            /// Attempts to connect at once after a pause; 0 means as many as in ten seconds. Default 0.
            pub connects_burst: u64,
            /// Joins per second; 0 means no limit. Past it: error reply. Default 0.
            pub joins_per_second: u64,
            /// Joins at once after a pause; 0 means as many as in ten seconds. Default 0.
            pub joins_burst: u64,
            /// Messages per second; 0 means no limit. Past it: error reply. Default 0.
            pub messages_per_second: u64,
            /// Messages at once after a pause; 0 means as many as in ten seconds. Default 0.
            pub messages_burst: u64,
            /// Bytes of these messages per second; 0 means no limit. Past it: error reply. Default 0.
            pub bytes_per_second: u64,
            /// Bytes at once after a pause; 0 means as many as in ten seconds. Default 0.
            pub bytes_burst: u64,
            #[doc = concat!(
                "Faults per minute of one plugin; 0 means no limit. Past it: error replies for a growing time. Default ",
                $faults,
                ".",
            )]
            pub faults_per_minute: u64,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    connections: 0,
                    connects_per_second: 0,
                    connects_burst: 0,
                    joins_per_second: 0,
                    joins_burst: 0,
                    messages_per_second: 0,
                    messages_burst: 0,
                    bytes_per_second: 0,
                    bytes_burst: 0,
                    faults_per_minute: $faults,
                }
            }
        }

        impl From<&$name> for ScopeLimits {
            fn from(table: &$name) -> Self {
                let rate = |per_second, burst| RateLimit { per_second, burst };
                Self {
                    connections: table.connections,
                    connects: rate(table.connects_per_second, table.connects_burst),
                    rates: MessageRates {
                        joins: rate(table.joins_per_second, table.joins_burst),
                        messages: rate(table.messages_per_second, table.messages_burst),
                        bytes: rate(table.bytes_per_second, table.bytes_burst),
                    },
                    faults_per_minute: table.faults_per_minute,
                }
            }
        }
    };
}

scope_table! {
    /// The table `limits.user`: the limits of all sockets of a user together.
    UserLimits, 20
}

scope_table! {
    /// The table `limits.address`: the limits of all sockets of an address together.
    AddressLimits, 100
}

/// The table `limits.socket`: the rates of each socket, which begin anew with each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketRates {
    /// Joins per second; 0 means no limit. Past it: error reply. Default 0.
    pub joins_per_second: u64,
    /// Joins at once after a pause; 0 means as many as in ten seconds. Default 0.
    pub joins_burst: u64,
    /// Messages per second; 0 means no limit. Past it: error reply. Default 0.
    pub messages_per_second: u64,
    /// Messages at once after a pause; 0 means as many as in ten seconds. Default 0.
    pub messages_burst: u64,
    /// Bytes of these messages per second; 0 means no limit. Past it: error reply. Default 0.
    pub bytes_per_second: u64,
    /// Bytes at once after a pause; 0 means as many as in ten seconds. Default 0.
    pub bytes_burst: u64,
}

impl From<&SocketRates> for MessageRates {
    fn from(table: &SocketRates) -> Self {
        let rate = |per_second, burst| RateLimit { per_second, burst };
        Self {
            joins: rate(table.joins_per_second, table.joins_burst),
            messages: rate(table.messages_per_second, table.messages_burst),
            bytes: rate(table.bytes_per_second, table.bytes_burst),
        }
    }
}
