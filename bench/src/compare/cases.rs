//! The scenarios that are compared, with their parameters.

use super::Played;
use super::contest::{Contest, Entrant};
use super::rivals::{Rival, Rivals};
use crate::scenario::Scenario;
use crate::scenario::churn::Churn;
use crate::scenario::echo::Echo;
use crate::scenario::fanout::Fanout;
use crate::scenario::idle::Idle;
use crate::scenario::mixed::Mixed;

/// Returns the contests for `played`. Reload and start have none, because only the host can run them.
pub(super) fn of(played: Played, quick: bool, rivals: &Rivals) -> Vec<Contest> {
    let seconds = if quick { 1 } else { 5 };
    let payload = 64;
    let fanout = Fanout { sockets: 1_000, topics: 1, window: 4, payload, prefix: "bench:".into(), deaf: 0, seconds };
    match played {
        Played::Fanout => {
            let (sockets, topics) = if quick { (1_000, 100) } else { (5_000, 500) };
            vec![
                all(rivals, "Delivery: 1,000 sockets in a topic, window 4", &fanout),
                all(rivals, "Delivery: 1,000 sockets in a topic, window 1", &Fanout { window: 1, ..fanout.clone() }),
                all(
                    rivals,
                    &format!("Delivery: {sockets} sockets in {topics} topics, window 4"),
                    &Fanout { sockets, topics, ..fanout.clone() },
                ),
            ]
        }
        Played::Echo => {
            let echo = echo(seconds);
            vec![
                all(rivals, "Echo: 50 sockets", &echo),
                among(&rivals.ours, "Echo: 50 sockets, the payload parsed and rewritten", &parse(seconds)),
            ]
        }
        Played::Native => vec![
            among(&rivals.native, "Native: echo, 50 sockets", &echo(seconds)),
            among(&rivals.native, "Native: echo, 50 sockets, the payload parsed and rewritten", &parse(seconds)),
            among(&rivals.native, "Native: 1,000 sockets in a topic, window 1", &Fanout { window: 1, ..fanout }),
        ],
        Played::Idle => {
            let sockets = if quick { 2_000 } else { 15_000 };
            let idle = |topics| Idle { sockets, topics, of: None, seconds };
            vec![
                all(rivals, &format!("Idle: {sockets} sockets, 1 topic each"), &idle(1)),
                all(rivals, &format!("Idle: {sockets} sockets, 5 topics each"), &idle(5)),
            ]
        }
        Played::Churn => vec![all(rivals, "Churn: 50 sockets at once", &Churn { sockets: 50, payload, seconds })],
        Played::Mixed => vec![all(rivals, "Mixed", &mixed(quick, payload, seconds))],
        Played::Deaf => {
            // Large and long enough that first the kernel's buffers are full, and then the outboxes.
            let plain = Fanout { payload: 4_096, seconds: seconds * 3, ..fanout };
            let deaf = Fanout { deaf: 100, ..plain.clone() };
            vec![host("Deaf: 1,000 sockets, 4 KiB", rivals, ("all read", plain), ("one in 100 never reads", deaf))]
        }
        Played::Intercepted => {
            let passed = Fanout { prefix: "passed:".into(), ..fanout.clone() };
            vec![host("Intercepted: 1,000 members", rivals, ("plain", fanout), ("intercepted", passed))]
        }
        Played::Reload | Played::Start => Vec::new(),
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
    Mixed { idle, echo: 100, echoes: 1_000, topics: 20, members: 20, shouts: 500, lives: 50, payload, seconds }
}

/// All servers play the same scenario.
fn all(rivals: &Rivals, title: &str, scenario: &(impl Scenario + Clone + 'static)) -> Contest {
    among(&rivals.all, title, scenario)
}

fn among(rivals: &[(String, Rival)], title: &str, scenario: &(impl Scenario + Clone + 'static)) -> Contest {
    let entrants = rivals.iter().map(|(name, rival)| {
        let (name, rival) = (name.clone(), rival.clone());
        Entrant { name, rival, scenario: Box::new(scenario.clone()) }
    });
    Contest { title: title.to_owned(), entrants: entrants.collect() }
}

/// Only the host plays, with two scenarios.
fn host(title: &str, rivals: &Rivals, first: (&str, Fanout), second: (&str, Fanout)) -> Contest {
    let entrants = [first, second].map(|(name, scenario)| Entrant {
        name: name.to_owned(),
        rival: rivals.host.clone(),
        scenario: Box::new(scenario),
    });
    Contest { title: title.to_owned(), entrants: entrants.into() }
}
