//! The words of the records in those of the plugin library.

use std::time::Duration;

use bennu_cluster::rollout::{BuildDigest, BuildPhase, LoadedBuild, PluginRecord, RecordedTerms, ServeStep};

use crate::plugin::{BuildFacts, Digest, RolledBackBuild, ServeOrder, ServePhase};
use crate::routes::ProbationTerms;

pub(super) fn digest_of(digest: &Digest) -> BuildDigest {
    BuildDigest(*digest.as_bytes())
}

pub(super) fn terms_of(terms: ProbationTerms) -> RecordedTerms {
    let ProbationTerms { time, calls, faults } = terms;
    RecordedTerms { time_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX), calls, faults }
}

pub(super) fn loaded_of(facts: BuildFacts) -> LoadedBuild {
    let BuildFacts { topics, is_gatekeeper } = facts;
    LoadedBuild { topics, is_gatekeeper }
}

/// The order to the library for a step.
pub(super) fn order_of(record: &PluginRecord, step: &ServeStep, serving: Option<u32>) -> ServeOrder {
    let generation = step.build.generation;
    let phase = match &step.phase {
        BuildPhase::Passed => ServePhase::Passed,
        BuildPhase::Unproved => ServePhase::Unproved,
        BuildPhase::OnProbation(open) => {
            let RecordedTerms { time_ms, calls, faults } = open.terms;
            ServePhase::OnProbation {
                id: open.id,
                against: open.against.generation,
                against_digest: open.against.digest.to_string(),
                terms: ProbationTerms { time: Duration::from_millis(time_ms), calls, faults },
            }
        }
    };
    // The generation that served here was rejected, or it was rolled back by somebody.
    let rejected = record.rejected.iter().find(|rejected| Some(rejected.generation) == serving);
    let rolled_back = rejected.filter(|_| serving != Some(generation)).map(|rejected| RolledBackBuild {
        generation: rejected.generation,
        digest: rejected.digest.to_string(),
        faults: rejected.faults,
        at_ms: rejected.at_ms,
    });
    let is_rollback = rolled_back.is_none() && serving.is_some_and(|serving| serving > generation);
    ServeOrder { generation, phase, ends: step.ends, rolled_back, is_rollback }
}
