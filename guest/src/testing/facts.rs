//! What a channel can read of its host and its socket.

use std::collections::BTreeMap;

use super::knock::Asked;
use super::online::Online;
use super::stored::Stored;
use crate::topics::Person;

/// A place in time, a configuration, a socket.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Milliseconds since 1970.
    pub(super) now: u64,
    /// How many ids and random numbers were drawn: both are a function of it, so a test sees the same ones each time.
    pub(super) drawn: u64,
    pub(super) configuration: String,
    pub(super) socket_id: Option<String>,
    pub(super) user: Option<String>,
    pub(super) claims: String,
    pub(super) connect_params: String,
    pub(super) x_headers: Vec<(String, String)>,
    /// The JSON text of the ref that the client joined with.
    pub(super) join_ref: String,
    /// Who is online, and who is in which topic.
    pub(super) online: Online,
    pub(super) people: BTreeMap<String, Vec<Person>>,
    pub(super) stored: Stored,
    /// What the plugin may reach; none where the test doesn't say what its own topics are, and then everything.
    pub(super) reach: Option<Reach>,
    /// The request that a gatekeeper decides about.
    pub(super) request: Option<Asked>,
}

/// Topics by patterns: a plugin's own, and what the configuration grants.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    pub(super) own: Vec<String>,
    pub(super) publish: Vec<String>,
    pub(super) read: Vec<String>,
}

impl Reach {
    /// Whether it may publish and send to a topic, or disconnect an id.
    pub(super) fn may_publish(&self, topic: &str) -> bool {
        self.own.iter().chain(&self.publish).any(|pattern| matches(pattern, topic))
    }

    /// Whether it may subscribe to a topic and read about it.
    pub(super) fn may_read(&self, topic: &str) -> bool {
        self.own.iter().chain(&self.read).any(|pattern| matches(pattern, topic))
    }

    /// Whether it may read about every topic with a prefix: an exact topic says nothing of those.
    pub(super) fn may_read_under(&self, prefix: &str) -> bool {
        let matches_all =
            |pattern: &String| pattern.strip_suffix('*').is_some_and(|granted| prefix.starts_with(granted));
        self.own.iter().chain(&self.read).any(matches_all)
    }
}

fn matches(pattern: &str, topic: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == topic, |prefix| topic.starts_with(prefix))
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            now: 1_767_225_600_000,
            drawn: 0,
            configuration: "{}".into(),
            socket_id: None,
            user: None,
            claims: "{}".into(),
            connect_params: "{}".into(),
            x_headers: Vec::new(),
            join_ref: "\"1\"".into(),
            online: Online::default(),
            people: BTreeMap::new(),
            stored: Stored::default(),
            reach: None,
            request: None,
        }
    }
}

impl Facts {
    /// Twenty characters that sort in the order in which they were drawn.
    pub(super) fn draw_id(&mut self) -> String {
        self.drawn += 1;
        format!("{:020}", self.drawn)
    }

    /// The next number of SplitMix64.
    pub(super) fn draw_random(&mut self) -> u64 {
        self.drawn += 1;
        let mut z = self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
