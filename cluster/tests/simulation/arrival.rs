//! How a process gets its row, and what the table answers.

use std::time::Duration;

use bennu_cluster::membership::{Namesake, NamesakeState};
use bennu_cluster::{Hello, Moment, NodeId, NodeRow, TableError};

use crate::event::{Answer, Event};
use crate::plan::LEASE;
use crate::process::Running;
use crate::world::{State, World};

/// A process that waits for its namesake.
pub(crate) struct Waiting {
    namesake: Namesake,
    is_polling: bool,
}

fn no_answer() -> TableError {
    TableError::Down("no answer".to_owned())
}

impl World {
    pub(crate) fn answered(&mut self, machine: usize, number: u64, answer: Answer, now: Moment) {
        // Of an answer and its time limit, the first counts.
        if !self.calls.remove(&number) {
            return;
        }
        match answer {
            Answer::Hello(sent_at, hello) => self.hello_answered(machine, sent_at, hello, now),
            Answer::Renew(sent_at, renewal) => {
                if let Some(running) = self.machines[machine].running_mut() {
                    running.renewed(sent_at, &renewal.ok_or_else(no_answer), now);
                }
            }
            Answer::List(sent_at, rows) => self.rows_answered(machine, sent_at, rows, now),
            Answer::DeclareDead(Some(true)) => {
                if let Some(running) = self.machines[machine].running_mut() {
                    running.core.declared_dead(&mut running.outgoing);
                }
            }
            Answer::DeclareDead(_) => {}
        }
    }

    fn hello_answered(&mut self, machine: usize, sent_at: Moment, hello: Option<Hello>, now: Moment) {
        let run = self.machines[machine].process.as_ref().map_or(0, |process| process.run);
        let state = match hello {
            Some(Hello::Welcome(epoch)) => {
                self.witness.tally.starts += 1;
                let id = NodeId { epoch, incarnation: Self::incarnation(run) };
                State::Running(Box::new(Running::new(id, &self.plan, sent_at)))
            }
            Some(Hello::NameTaken(row)) => {
                State::Waiting(Box::new(Waiting { namesake: Namesake::new(row, LEASE, now), is_polling: false }))
            }
            Some(Hello::NoCommonVersion(_) | Hello::OtherSettings(_)) | None => return self.give_up(machine),
        };
        if let Some(process) = &mut self.machines[machine].process {
            process.state = state;
        }
    }

    /// The process can't start, and somebody tries again.
    fn give_up(&mut self, machine: usize) {
        self.end(machine);
        self.after(Duration::from_secs(4), Event::Start(machine));
    }

    pub(crate) fn step_waiting(&mut self, machine: usize) {
        let at = &mut self.machines[machine];
        let (clock, now) = (at.clock, at.clock.local(self.now));
        let Some(process) = &mut at.process else { return };
        let run = process.run;
        let State::Waiting(waiting) = &mut process.state else { return };
        if waiting.is_polling {
            return;
        }
        if now >= waiting.namesake.next() {
            waiting.is_polling = true;
            let limit = waiting.namesake.sent(now);
            self.ask_list(machine, run, (now, limit));
        } else {
            let wake = clock.world(waiting.namesake.next());
            self.wake(machine, wake);
        }
    }

    fn rows_answered(&mut self, machine: usize, sent_at: Moment, rows: Option<Vec<NodeRow>>, now: Moment) {
        let Some(process) = &mut self.machines[machine].process else { return };
        let run = process.run;
        match &mut process.state {
            State::Hello => {}
            State::Running(running) => {
                let id = running.id;
                let mut actions = Vec::new();
                running.polled(sent_at, rows.ok_or_else(no_answer), now, &mut actions);
                self.act(machine, run, id, actions);
            }
            State::Waiting(waiting) => {
                waiting.is_polling = false;
                let state = match rows {
                    Some(rows) => waiting.namesake.polled(rows, sent_at, now),
                    None if waiting.namesake.poll_failed(now) => NamesakeState::Waits,
                    None => return self.give_up(machine),
                };
                match state {
                    NamesakeState::Waits => {}
                    NamesakeState::Over => {
                        process.state = State::Hello;
                        self.hello(machine);
                    }
                    NamesakeState::Runs(_) => {
                        self.witness.tally.refused += 1;
                        self.give_up(machine);
                    }
                    NamesakeState::Expired(row) => {
                        let expired = bennu_cluster::core::ExpiredNode { node: row.id.epoch, beat: row.beat };
                        self.ask_to_declare_dead(machine, run, expired);
                    }
                }
            }
        }
    }
}
