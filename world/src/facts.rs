//! What a callback can read of its host and of its member's socket.

use std::collections::BTreeMap;

use bennu_semantics::{Fault, Pattern, Reach};

use crate::online::Online;
use crate::stored::Stored;

/// What is known of a socket from its connecting on.
#[derive(Clone, Debug)]
pub struct SocketFacts {
    /// The id by which it can be disconnected.
    pub socket_id: Option<String>,
    /// The user that was granted.
    pub user: Option<String>,
    /// What else was granted: the text of a JSON object.
    pub claims: String,
    /// The parameters that the client connected with: the text of a JSON object.
    pub connect_params: String,
    /// The request's headers that start with `x-`.
    pub x_headers: Vec<(String, String)>,
    /// The JSON text of the ref that the client joined with.
    pub join_ref: String,
}

/// A socket of which nothing is known.
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

/// The topics that a plugin may reach: its own, and those that a configuration grants.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Those of its own routes.
    pub own: Vec<Pattern>,
    /// Those that it may publish and send to, and the ids that it may disconnect.
    pub publish: Vec<Pattern>,
    /// Those that it may subscribe to and read about.
    pub read: Vec<Pattern>,
}

/// The plugin's name in faults that say how more is granted: a test's plugin has none.
const PLUGIN: &str = "NAME";

/// A place in time, a configuration, and what is known of all topics.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Milliseconds since 1970.
    pub now: u64,
    /// How many ids and random numbers were drawn: both are a function of it, so a test sees the same ones each time.
    pub drawn: u64,
    /// The plugin's configuration: the text of a JSON object.
    pub configuration: String,
    /// Who is online.
    pub online: Online,
    /// Who is in which topic.
    pub people: BTreeMap<String, Vec<Person>>,
    /// What the plugin has stored.
    pub stored: Stored,
    /// What the plugin may reach; none where the test doesn't say what its own topics are, and then everything.
    pub grants: Option<Grants>,
}

/// The start of the year 2026, in milliseconds since 1970: the time of a test that sets no other.
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
        }
    }
}

impl HostFacts {
    /// Twenty characters that sort in the order in which they were drawn.
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

    /// Checks something against what the plugin may reach.
    pub(crate) fn check_reach(&self, check: impl FnOnce(&Reach<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        let Some(Grants { own, publish, read }) = &self.grants else { return Ok(()) };
        check(&Reach { plugin: PLUGIN, own, publish, read })
    }
}
