//! The values that a callback can read of its host and of its member's socket.

use std::collections::BTreeMap;

use bennu_semantics::{Fault, HttpTable, Pattern, Reach};

use crate::online::Online;
use crate::stored::Stored;

/// The values of a socket, which don't change while it is connected.
#[derive(Clone, Debug)]
pub struct SocketFacts {
    /// The id by which it can be disconnected.
    pub socket_id: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The claims: the text of a JSON object.
    pub claims: String,
    /// The parameters that the client connected with: the text of a JSON object.
    pub connect_params: String,
    /// The request's headers that start with `x-`.
    pub x_headers: Vec<(String, String)>,
    /// The JSON text of the ref that the client joined with.
    pub join_ref: String,
}

/// A socket without id, user, claims, parameters and headers.
impl Default for SocketFacts {
    fn default() -> Self {
        Self {
            socket_id: None,
            user: None,
            claims: "{}".into(),
            connect_params: "{}".into(),
            x_headers: Vec::new(),
            join_ref: "\"1\"".into(),
        }
    }
}

/// A member of a topic, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Its number.
    pub member: u64,
    /// Its user.
    pub user: Option<String>,
    /// The id of its socket.
    pub socket_id: Option<String>,
}

/// The topics that a plugin may reach: those of its routes, and those that the configuration grants.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// The topics of its own routes.
    pub own: Vec<Pattern>,
    /// The topics to which it may publish and send, and the ids that it may disconnect.
    pub publish: Vec<Pattern>,
    /// The topics to which it may subscribe and about which it may read.
    pub read: Vec<Pattern>,
}

/// The plugin's name in faults that name a configuration key. A test's plugin has no name.
const PLUGIN: &str = "NAME";

/// The values of a host: time, configuration, topics, store and grants.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Milliseconds since 1970.
    pub now: u64,
    /// The number of ids and random numbers so far. Both are functions of it, so that each run of a test gets the same
    /// values.
    pub drawn: u64,
    /// The plugin's configuration: the text of a JSON object.
    pub configuration: String,
    /// The presences of all topics.
    pub online: Online,
    /// The members of each topic.
    pub people: BTreeMap<String, Vec<Person>>,
    /// The content of the plugin's store.
    pub stored: Stored,
    /// The topics that the plugin may reach. `None` if the test doesn't name its routes: then it may reach all.
    pub grants: Option<Grants>,
    /// The answers to requests by HTTP.
    pub http: HttpTable,
}

/// The default time of a test: the start of the year 2026, in milliseconds since 1970.
const START: u64 = 1_767_225_600_000;

impl Default for HostFacts {
    fn default() -> Self {
        Self {
            now: START,
            drawn: 0,
            configuration: "{}".into(),
            online: Online::default(),
            people: BTreeMap::new(),
            stored: Stored::default(),
            grants: None,
            http: HttpTable::default(),
        }
    }
}

impl HostFacts {
    /// A new id: 20 characters that sort in the order in which they were drawn.
    pub fn draw_id(&mut self) -> String {
        self.drawn += 1;
        format!("{:020}", self.drawn)
    }

    /// The next number of SplitMix64.
    pub fn draw_random(&mut self) -> u64 {
        self.drawn += 1;
        let mut z = self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Runs a check of the plugin's reach.
    pub(crate) fn check_reach(&self, check: impl FnOnce(&Reach<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        let Some(Grants { own, publish, read }) = &self.grants else { return Ok(()) };
        check(&Reach { plugin: PLUGIN, own, publish, read })
    }
}
