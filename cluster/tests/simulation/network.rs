//! The way to the bus and the table, and back.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bennu_cluster::core::ExpiredNode;
use bennu_cluster::lease::LeaseState;
use bennu_cluster::table::TableFuture;
use bennu_cluster::{BusError, BusEvent, Epoch, Incarnation, Lane, Moment, NewNode, NodeId, NodeSettings, NodeTable};
use bytes::Bytes;

use crate::event::{Answer, Ask, Call, Event, Ours, Sender};
use crate::plan::LEASE;
use crate::process::SPEAKS;
use crate::world::World;

/// The answer of a table in memory, which doesn't wait.
fn answer<T>(mut call: TableFuture<'_, T>) -> T {
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.unwrap_or_else(|error| panic!("{error}")),
        Poll::Pending => panic!("a table in memory waits"),
    }
}

impl World {
    pub(crate) fn has_bus(&self, machine: usize) -> bool {
        self.now >= self.bus_down_until && self.now >= self.machines[machine].bus_cut_until
    }

    fn has_table(&self, machine: usize) -> bool {
        self.now >= self.table_down_until && self.now >= self.machines[machine].table_cut_until
    }

    /// A flush reaches the bus.
    pub(crate) fn taken(&mut self, from: Sender, lane: Lane, flush: &Bytes) {
        let after = self.random.time(0..self.plan.bus_delay);
        let down = || Err(BusError::Down("cut".to_owned()));
        let result = if !self.has_bus(from.machine) {
            down()
        } else if self.plan.is_fenced && !self.table.may_commit(from.id) {
            Err(BusError::Fenced)
        } else if self.random.chance(self.plan.refused) {
            Err(BusError::Refused("no".to_owned()))
        } else {
            self.spread(from, lane, flush);
            // Sometimes everybody has heard it, and the sender doesn't know.
            if self.random.chance(self.plan.loss / 10) { down() } else { Ok(()) }
        };
        self.after(after, Event::Ours { machine: from.machine, run: from.run, ours: Ours::Sent(result) });
    }

    fn spread(&mut self, from: Sender, lane: Lane, flush: &Bytes) {
        for machine in 0..self.machines.len() {
            let Some(id) = self.machines[machine].running().map(|running| running.id) else { continue };
            let is_meant = match lane {
                Lane::Node(node) if self.plan.is_narrow => node == id.epoch,
                Lane::Node(_) | Lane::All => true,
            };
            // A node's own heartbeats are lost as any others.
            if !is_meant || !self.has_bus(machine) || self.random.chance(self.plan.loss) {
                continue;
            }
            let times = if self.random.chance(self.plan.twice) { 2 } else { 1 };
            for _ in 0..times {
                let after = self.random.time(0..self.plan.bus_delay);
                self.deliver(machine, BusEvent::Flush(flush.clone()), from.run, after);
            }
        }
    }

    /// The bus tells a machine something itself.
    pub(crate) fn bus_event(&mut self, machine: usize, event: BusEvent) {
        self.deliver(machine, event, 0, Duration::ZERO);
    }

    /// A call begins its way, and fails if no answer comes in time.
    fn ask(&mut self, machine: usize, run: u64, call: Call, limit: Duration) {
        self.last_call += 1;
        let number = self.last_call;
        self.calls.insert(number);
        let failed = match call {
            Call::Hello(sent_at) => Answer::Hello(sent_at, None),
            Call::Renew(_, sent_at) => Answer::Renew(sent_at, None),
            Call::List(sent_at) => Answer::List(sent_at, None),
            Call::DeclareDead(_) | Call::Commit(_) => Answer::DeclareDead(None),
        };
        let limit = self.machines[machine].clock.length(limit);
        self.after(limit, Event::Ours { machine, run, ours: Ours::Answer(number, failed) });
        let after = self.random.time(0..self.plan.table_delay);
        self.after(after, Event::Ask(Ask { machine, run, number, call }));
    }

    pub(crate) fn ask_renew(&mut self, machine: usize, run: u64, id: NodeId, (sent_at, limit): (Moment, Duration)) {
        self.ask(machine, run, Call::Renew(id, sent_at), limit);
    }

    pub(crate) fn ask_list(&mut self, machine: usize, run: u64, (sent_at, limit): (Moment, Duration)) {
        self.ask(machine, run, Call::List(sent_at), limit);
    }

    pub(crate) fn ask_to_declare_dead(&mut self, machine: usize, run: u64, expired: ExpiredNode) {
        self.ask(machine, run, Call::DeclareDead(expired), LEASE);
    }

    pub(crate) fn hello(&mut self, machine: usize) {
        let Some(run) = self.machines[machine].process.as_ref().map(|process| process.run) else { return };
        let sent_at = self.machines[machine].clock.local(self.now);
        self.ask(machine, run, Call::Hello(sent_at), LEASE);
    }

    /// A host looks at its lease, and commits.
    pub(crate) fn commit(&mut self, machine: usize) {
        let after = self.random.time(50..1_000);
        self.after(after, Event::Commit(machine));
        let at = &self.machines[machine];
        let (Some(running), None) = (at.running(), &at.stopped) else { return };
        if running.lease.state(at.clock.local(self.now)) == LeaseState::Good {
            let (run, id) = (at.process.as_ref().map_or(0, |process| process.run), running.id);
            // Between the look and the commit anything can happen.
            let after = if self.random.chance(100) { self.random.time(0..30_000) } else { Duration::ZERO };
            let ask = Ask { machine, run, number: 0, call: Call::Commit(id) };
            self.after(after, Event::Ask(ask));
        }
    }

    /// A row is set dead by its own node, or by who knows that it is over.
    pub(crate) fn leave(&mut self, id: NodeId) {
        answer(self.table.leave(id));
    }

    /// A call reaches the table.
    pub(crate) fn asked(&mut self, ask: Ask) {
        let Ask { machine, run, number, call } = ask;
        if !self.has_table(machine) {
            self.disturb(machine);
            return;
        }
        let answer = match call {
            Call::Hello(sent_at) => self.hello_asked(machine, run, sent_at),
            Call::Renew(id, sent_at) => Answer::Renew(sent_at, Some(answer(self.table.renew(id)))),
            Call::List(sent_at) => Answer::List(sent_at, Some(answer(self.table.list()))),
            Call::DeclareDead(expired) => {
                Answer::DeclareDead(Some(self.asked_to_declare_dead(expired.node, expired.beat)))
            }
            Call::Commit(id) => {
                let is_taken = self.table.may_commit(id);
                let name = self.machines[machine].name.clone();
                return self.witness.committed(id, &name, is_taken);
            }
        };
        // Sometimes the answer is lost.
        if self.random.chance(self.plan.loss / 10) {
            self.disturb(machine);
            return;
        }
        let after = self.random.time(0..self.plan.table_delay);
        self.after(after, Event::Ours { machine, run, ours: Ours::Answer(number, answer) });
    }

    /// A machine is kept from the table, other than by an outage for everybody.
    fn disturb(&mut self, machine: usize) {
        if self.now >= self.table_down_until {
            self.machines[machine].disturbed_at = self.now;
        }
    }

    pub(crate) fn incarnation(run: u64) -> Incarnation {
        Incarnation(u128::from(run).to_be_bytes())
    }

    fn hello_asked(&mut self, machine: usize, run: u64, sent_at: Moment) -> Answer {
        let name = self.machines[machine].name.clone();
        let settings = NodeSettings { lease: LEASE, bus: "simulated".to_owned(), secret_mark: None };
        let (version, incarnation) = ("0.1.0".to_owned(), Self::incarnation(run));
        let hello = answer(self.table.hello(&NewNode { name, version, incarnation, speaks: SPEAKS, settings }));
        Answer::Hello(sent_at, Some(hello))
    }

    fn asked_to_declare_dead(&mut self, node: Epoch, beat: u64) -> bool {
        let its_machine = self.machines.iter().find(|at| at.running().is_some_and(|running| running.id.epoch == node));
        let was_alive =
            its_machine.is_some_and(|at| at.running().is_some_and(|running| self.table.may_commit(running.id)));
        let is_dead = answer(self.table.declare_dead(node, beat));
        if let Some(at) = its_machine.filter(|_| is_dead && was_alive)
            && let Some(running) = at.running()
        {
            let state = running.lease.state(at.clock.local(self.now));
            // A node whose clock stood still can't know for how long, until the table answers a renewal that it has sent since. It stores
            // nothing before that.
            let is_unsure = running.lease.renewed_at().is_none_or(|sent_at| sent_at <= at.paused_until);
            if state == LeaseState::Good && !at.clock.is_paused() && !is_unsure {
                self.witness.findings.push(format!("{node} was declared dead, and its lease is good"));
            }
            if self.table.may_commit(running.id) {
                self.witness.findings.push(format!("{node} was declared dead, and may commit"));
            }
            let is_disturbed = at.stopped.is_some()
                || self.now < at.table_cut_until
                || self.now.since(at.disturbed_at) < LEASE * 3 / 2;
            if !is_disturbed {
                self.witness
                    .findings
                    .push(format!("{node} was declared dead, and only an outage for all kept it from the table"));
            }
        }
        self.witness.tally.declared_dead += u64::from(is_dead);
        is_dead
    }

    /// Something reaches a process that isn't stopped.
    pub(crate) fn receive(&mut self, machine: usize, ours: Ours) {
        let now = self.machines[machine].clock.local(self.now);
        match ours {
            Ours::Wake => {}
            Ours::Bus(event) => {
                if let Some(running) = self.machines[machine].running_mut() {
                    running.deliver(event);
                }
            }
            Ours::Sent(result) => {
                if let Some(running) = self.machines[machine].running_mut() {
                    running.sent(result, now);
                }
            }
            Ours::Answer(number, answer) => self.answered(machine, number, answer, now),
        }
    }
}
