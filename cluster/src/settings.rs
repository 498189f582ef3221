//! What all nodes of a cluster must have configured in the same way.

use std::time::Duration;

/// The bytes that show whether two nodes have the same secret.
pub const SECRET_MARK_BYTES: usize = 8;

/// The settings of a node with which those of a node that starts are compared.
///
/// With another lease, nodes would be declared dead too early or too late. With another bus or another secret, they wouldn't hear each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// The time, in whole milliseconds, after which others may declare the node dead.
    pub lease: Duration,
    /// The name of the service that is the bus.
    pub bus: String,
    /// Made from the secret, and from nothing else. Whoever reads it can try guesses, as can whoever reads a flush; a long random secret
    /// can't be guessed. None without a secret.
    pub secret_mark: Option<[u8; SECRET_MARK_BYTES]>,
}

impl NodeSettings {
    /// Says how those of another node differ from these. Empty if they are the same. No secret is shown.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        if self.lease != other.lease {
            let (here, there) = (self.lease.as_millis(), other.lease.as_millis());
            differences.push(format!("`cluster.lease_ms` is {there} there and {here} here"));
        }
        if self.bus != other.bus {
            differences.push(format!("`cluster.bus` is {} there and {} here", other.bus, self.bus));
        }
        match (&self.secret_mark, &other.secret_mark) {
            (None, Some(_)) => differences.push("`cluster.secret` is set there and not here".to_owned()),
            (Some(_), None) => differences.push("`cluster.secret` is set here and not there".to_owned()),
            (here, there) if here != there => differences.push("`cluster.secret` is another one there".to_owned()),
            _ => {}
        }
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Secret;
    use crate::wire::Seal;

    fn settings(lease_ms: u64, bus: &str, secret: Option<&str>) -> NodeSettings {
        let seal = Seal::new(secret.map(Secret::new).as_ref());
        NodeSettings { lease: Duration::from_millis(lease_ms), bus: bus.to_owned(), secret_mark: seal.mark() }
    }

    #[test]
    fn each_difference_is_named_and_no_secret_is_shown() {
        let here = settings(10_000, "postgres", Some("hunter2"));
        assert!(here.differences(&settings(10_000, "postgres", Some("hunter2"))).is_empty());
        let lease = here.differences(&settings(4_000, "postgres", Some("hunter2")));
        assert_eq!(lease, ["`cluster.lease_ms` is 4000 there and 10000 here"]);
        let several = here.differences(&settings(10_000, "nats", Some("hunter3")));
        assert_eq!(several, ["`cluster.bus` is nats there and postgres here", "`cluster.secret` is another one there"]);
        let none = settings(10_000, "postgres", None);
        assert_eq!(here.differences(&none), ["`cluster.secret` is set here and not there"]);
        assert_eq!(none.differences(&here), ["`cluster.secret` is set there and not here"]);
        assert!(none.differences(&none.clone()).is_empty());
        assert!(!format!("{here:?}").contains("hunter"));
    }
}
