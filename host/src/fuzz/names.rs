//! Texts with a grammar of their own.

use bennu_outbound::{Grant, Target};
use bennu_semantics::RouteSpec;

use crate::contract::Trace;
use crate::jobs::CronLine;

/// A trace that is read is passed on with the same id.
pub(super) fn traceparent(bytes: &[u8]) -> bool {
    let Some(trace) = std::str::from_utf8(bytes).ok().and_then(Trace::parse) else { return false };
    let again = Trace::parse(&trace.parent_of(7)).expect("the host writes a valid one");
    assert_eq!(trace.to_string(), again.to_string());
    true
}

/// The first line is a URL, or a grant of URLs, and the second one is a redirect.
pub(super) fn url(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (text, location) = text.split_once('\n').unwrap_or((text, ""));
    let _ = Grant::parse(text, false);
    let Ok(target) = Target::parse(text) else { return false };
    let again = Target::parse(target.as_str()).expect("a URL that is allowed is allowed as the client sends it");
    assert_eq!((again.as_str(), again.host()), (target.as_str(), target.host()));
    if !text.contains(['?', '*']) {
        let grant = Grant::parse(text, false).expect("a URL without a query is a grant");
        assert!(grant.matches(&target), "{text} grants itself");
    }
    // The grant of everything below a path allows no redirect that leads out of it.
    if let (Ok(grant), Ok(next)) = (Grant::parse("https://a.example/v1/*", false), target.join(location)) {
        let is_below = next.as_str().starts_with("https://a.example/v1/");
        assert!(!grant.matches(&next) || is_below, "{} is not granted", next.as_str());
    }
    true
}

/// Cron lines: the schedule, and a time zone in a second line. Each time comes after the one before.
pub(super) fn cron(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (schedule, zone) = text.split_once('\n').map_or((text, None), |(schedule, zone)| (schedule, Some(zone)));
    let Ok(line) = CronLine::read("t", "e", schedule, zone) else { return false };
    let mut at = 1_700_000_000_000;
    for _ in 0..3 {
        let Some(next) = line.next_ms(at) else { break };
        assert!(next > at, "{next} comes after {at}");
        at = next;
    }
    true
}

/// The lines are the pattern of a route, and then its options, each as `NAME=VALUE`.
pub(super) fn manifest(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.split('\n');
    let pattern = lines.next().unwrap_or_default();
    let options: Vec<_> = lines.filter_map(|line| line.split_once('=')).collect();
    let options: Vec<_> = options.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let Ok(route) = RouteSpec::read(pattern, Vec::new(), (0, 0), &options) else { return false };
    assert!(route.start_topics.iter().all(|topic| route.pattern.matches(topic.as_str())));
    let _ = RouteSpec::check_all(&[route.clone(), route], true);
    true
}
