//! How often each limit was reached.

use std::fmt;

use bennu_outbound::FailureKind;

use super::Page;
use crate::api::Api;
use crate::counts::Limit;

pub(super) fn write(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let mut family =
        page.counters("bennu_limit_hits", "How often each limit was reached. `bennu docs limits` lists them.")?;
    Limit::ALL.iter().try_for_each(|limit| family.counter(&[("limit", limit.as_str())], hits(api, *limit)))
}

/// Some limits have a count of their own where they are reached.
fn hits(api: &Api, limit: Limit) -> u64 {
    let http = || api.node.http().counts();
    let too_large = || {
        let place = FailureKind::ALL.iter().position(|kind| *kind == FailureKind::TooLarge);
        place.map_or(0, |place| http().failed[place])
    };
    limit.hits()
        + match limit {
            Limit::StoreCacheBytes => api.node.store.page_reads(),
            Limit::StoreLogFiles => api.node.store.log_counts().waits(),
            Limit::EntriesCacheBytes => api.node.entry_usage().evicted,
            Limit::OutboxForMissed => api.node.pubsub.histories.missed(),
            Limit::HttpReceivedBytes => too_large(),
            Limit::HttpAtOncePerPlugin => http().busy_plugins,
            Limit::HttpAtOnce => http().busy_host,
            _ => 0,
        }
}
