//! Which versions of the server can carry the bus.

/// The first releases in which `VACUUM` keeps what the queue of notifications still needs. Before them, a queue that wasn't read for long
/// could end in "could not access status of transaction", for every `LISTEN` until the server was started again.
const MENDED: [i32; 4] = [150_016, 160_012, 170_008, 180_002];

/// Why a server isn't used for the bus, given its number (`server_version_num`) and its name.
pub(super) fn refusal(number: i32, shown: &str) -> Option<String> {
    let major = number / 10_000;
    let mended = MENDED.iter().find(|mended| **mended / 10_000 == major)?;
    (number < *mended).then(|| {
        format!(
            "the server is PostgreSQL {shown}, in which NOTIFY can fail for good after long use; update it to {major}.{} or later, \
             or use the bus of NATS",
            mended % 10_000
        )
    })
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn a_release_without_the_mended_queue_is_refused() {
        for (number, is_refused) in
            [(150_015, true), (150_016, false), (150_018, false), (170_007, true), (180_006, false), (190_000, false)]
        {
            assert_eq!(refusal(number, "x").is_some(), is_refused, "{number}");
        }
        assert!(refusal(160_003, "16.3").is_some_and(|said| said.contains("update it to 16.12")));
    }
}
