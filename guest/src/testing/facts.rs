//! What a channel can read of its host and its socket.

/// A place in time, a configuration, a socket.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Milliseconds since 1970.
    pub(super) now: u64,
    /// How many ids and random numbers were drawn: both are a function of it, so a test sees the same ones each time.
    pub(super) drawn: u64,
    pub(super) configuration: String,
    pub(super) socket_id: Option<String>,
    pub(super) connect_params: String,
    pub(super) x_headers: Vec<(String, String)>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            now: 1_767_225_600_000,
            drawn: 0,
            configuration: "{}".into(),
            socket_id: None,
            connect_params: "{}".into(),
            x_headers: Vec::new(),
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
