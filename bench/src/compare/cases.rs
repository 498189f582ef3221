//! The scenarios that are compared, with their parameters.

use super::ScenarioName;
use super::comparison::{Candidate, Comparison};
use super::servers::{ServerKind, Servers};
use crate::scenario::Scenario;
use crate::scenario::churn::Churn;
use crate::scenario::echo::Echo;
use crate::scenario::fanout::Fanout;
use crate::scenario::idle::Idle;
use crate::scenario::mixed::Mixed;

/// Returns the comparisons for `name`. Reload and start have none, because only the host can run them.
pub(super) fn of(name: ScenarioName, quick: bool, servers: &Servers) -> Vec<Comparison> {
    let seconds = if quick { 1 } else { 5 };
    let payload = 64;
    let fanout = Fanout { sockets: 1_000, topics: 1, window: 4, payload, prefix: "bench:".into(), stalled: 0, seconds };
    match name {
        ScenarioName::Fanout => {
            let (sockets, topics) = if quick { (1_000, 100) } else { (5_000, 500) };
            vec![
                all(servers, "Delivery: 1,000 sockets in a topic, window 4", &fanout),
                all(servers, "Delivery: 1,000 sockets in a topic, window 1", &Fanout { window: 1, ..fanout.clone() }),
                all(
                    servers,
                    &format!("Delivery: {sockets} sockets in {topics} topics, window 4"),
                    &Fanout { sockets, topics, ..fanout.clone() },
                ),
            ]
        }
        ScenarioName::Echo => {
            let echo = echo(seconds);
            vec![
                all(servers, "Echo: 50 sockets", &echo),
                among(&servers.ours, "Echo: 50 sockets, the payload parsed and rewritten", &parse(seconds)),
                among(&servers.languages, "Echo: the same in Rust and in TypeScript", &parse(seconds)),
            ]
        }
        ScenarioName::Native => vec![
            among(&servers.native, "Native: echo, 50 sockets", &echo(seconds)),
            among(&servers.native, "Native: echo, 50 sockets, the payload parsed and rewritten", &parse(seconds)),
            among(&servers.native, "Native: 1,000 sockets in a topic, window 1", &Fanout { window: 1, ..fanout }),
        ],
        ScenarioName::Idle => {
            let sockets = if quick { 2_000 } else { 15_000 };
            let idle = |topics| Idle { sockets, topics, of: None, seconds };
            vec![
                all(servers, &format!("Idle: {sockets} sockets, 1 topic each"), &idle(1)),
                all(servers, &format!("Idle: {sockets} sockets, 5 topics each"), &idle(5)),
            ]
        }
        ScenarioName::Churn => {
            vec![all(servers, "Churn: 50 sockets at once", &Churn { sockets: 50, payload, seconds })]
        }
        ScenarioName::Mixed => vec![all(servers, "Mixed", &mixed(quick, payload, seconds))],
        ScenarioName::Stalled => {
            // Large and long enough that first the kernel's buffers are full, and then the outboxes.
            let plain = Fanout { payload: 4_096, seconds: seconds * 3, ..fanout };
            let stalled = Fanout { stalled: 100, ..plain.clone() };
            vec![host(
                "Stalled: 1,000 sockets, 4 KiB",
                servers,
                ("all read", plain),
                ("one in 100 never reads", stalled),
            )]
        }
        ScenarioName::Intercepted => {
            let passed = Fanout { prefix: "passed:".into(), ..fanout.clone() };
            vec![host("Intercepted: 1,000 members", servers, ("plain", fanout), ("intercepted", passed))]
        }
        ScenarioName::Reload | ScenarioName::Start => Vec::new(),
    }
}

fn echo(seconds: u64) -> Echo {
    Echo { sockets: 50, payload: 64, rate: 0, event: "echo".into(), seconds }
}

fn parse(seconds: u64) -> Echo {
    Echo { event: "parse".into(), ..echo(seconds) }
}

fn mixed(quick: bool, payload: usize, seconds: u64) -> Mixed {
    let idle = if quick { 500 } else { 5_000 };
    Mixed { idle, echo: 100, echoes: 1_000, topics: 20, members: 20, shouts: 500, life_cycles: 50, payload, seconds }
}

/// All servers play the same scenario.
fn all(servers: &Servers, title: &str, scenario: &(impl Scenario + Clone + 'static)) -> Comparison {
    among(&servers.all, title, scenario)
}

fn among(servers: &[(String, ServerKind)], title: &str, scenario: &(impl Scenario + Clone + 'static)) -> Comparison {
    let candidates = servers.iter().map(|(name, server)| {
        let (name, server) = (name.clone(), server.clone());
        Candidate { name, server, scenario: Box::new(scenario.clone()) }
    });
    Comparison { title: title.to_owned(), candidates: candidates.collect() }
}

/// Only the host plays, with two scenarios.
fn host(title: &str, servers: &Servers, first: (&str, Fanout), second: (&str, Fanout)) -> Comparison {
    let candidates = [first, second].map(|(name, scenario)| Candidate {
        name: name.to_owned(),
        server: servers.host.clone(),
        scenario: Box::new(scenario),
    });
    Comparison { title: title.to_owned(), candidates: candidates.into() }
}
