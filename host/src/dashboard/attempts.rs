//! How often a client may sign in with a wrong key.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clients::AddressKey;
use crate::counts::Limit;

/// The most wrong keys from one address within [`WINDOW`].
const WRONG_MAX: u32 = 10;

/// The time in which wrong keys are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// The most addresses that are remembered. If there are more, the one with the oldest attempt is forgotten.
const ADDRESSES_MAX: usize = 1024;

/// The wrong keys of each address.
#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<AddressKey, (Instant, u32)>>);

impl Attempts {
    /// Whether an address may try a key. Otherwise, how long it has to wait. A right key isn't accepted then either: otherwise
    /// the answers would go on telling which key is right.
    pub(super) fn check(&self, client: SocketAddr, now: Instant) -> Result<(), Duration> {
        let attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match attempts.get(&AddressKey::from(client)) {
            Some((since, WRONG_MAX..)) if now.duration_since(*since) < WINDOW => {
                Limit::SignIns.hit();
                Err(WINDOW.saturating_sub(now.duration_since(*since)))
            }
            _ => Ok(()),
        }
    }

    /// Counts a wrong key.
    pub(super) fn note_wrong(&self, client: SocketAddr, now: Instant) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = AddressKey::from(client);
        if !attempts.contains_key(&key) && attempts.len() >= ADDRESSES_MAX {
            attempts.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
            let oldest = attempts.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| *key);
            if let Some(oldest) = oldest.filter(|_| attempts.len() >= ADDRESSES_MAX) {
                attempts.remove(&oldest);
            }
        }
        let (since, wrong) = attempts.entry(key).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *wrong) = (now, 0);
        }
        *wrong += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn wrong_keys_of_an_address_are_limited_for_a_minute() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for port in 0..WRONG_MAX {
            assert!(attempts.check(at(&format!("[2001:db8::1]:{port}")), now).is_ok());
            attempts.note_wrong(at(&format!("[2001:db8::{port}]:1")), now);
        }
        assert_eq!(attempts.check(at("[2001:db8::ffff]:1"), now + WINDOW / 2), Err(WINDOW / 2));
        assert!(attempts.check(at("192.0.2.1:1"), now).is_ok(), "another address");
        assert!(attempts.check(at("[2001:db8::1]:1"), now + WINDOW).is_ok());
        attempts.note_wrong(at("[2001:db8::1]:1"), now + WINDOW);
        assert!(attempts.check(at("[2001:db8::1]:1"), now + WINDOW).is_ok(), "it counts anew");
    }

    #[test]
    fn few_addresses_are_remembered() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..2 * ADDRESSES_MAX as u64 {
            let address = format!("10.0.{}.{}:1", number / 256, number % 256);
            attempts.note_wrong(at(&address), now + Duration::from_millis(number));
        }
        assert_eq!(attempts.0.lock().expect("no panic").len(), ADDRESSES_MAX);
    }
}
