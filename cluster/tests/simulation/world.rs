//! Machines, a table, a bus, and the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bennu_cluster::core::CoreOutput;
use bennu_cluster::lease::LeaseState;
use bennu_cluster::{BusEvent, ClusterEvent, Epoch, Lane, MemoryTable, Moment, NodeId};

use crate::arrival::Waiting;
use crate::clock::Clock;
use crate::event::{Event, Ours, Sender};
use crate::faults::Fault;
use crate::plan::{CALM, CHAOS, END, LIMITS, Plan};
use crate::process::{Action, Running};
use crate::random::Random;
use crate::witness::Witness;

/// After this time a node knows that it hears nothing itself: that of two heartbeats and a half, with the longest delay.
const DEAF: Duration = Duration::from_millis(3_000);

/// A machine on which one process after another runs, all of one name.
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) process: Option<Process>,
    /// Events that wait until the process goes on.
    pub(crate) stopped: Option<VecDeque<Ours>>,
    pub(crate) bus_cut_until: Moment,
    pub(crate) table_cut_until: Moment,
    /// Since when nothing of the bus reaches this machine.
    pub(crate) deaf_since: Option<Moment>,
    /// When this machine was last kept from the table, other than by an outage for everybody.
    pub(crate) disturbed_at: Moment,
    /// What its clock showed when it last went on after it had stood still.
    pub(crate) paused_until: Moment,
    /// A start of this machine that is certainly over.
    pub(crate) over: Option<NodeId>,
}

pub(crate) struct Process {
    pub(crate) run: u64,
    pub(crate) wake: Moment,
    pub(crate) state: State,
}

pub(crate) enum State {
    /// Waits for an answer to its hello.
    Hello,
    /// Waits for a namesake.
    Waiting(Box<Waiting>),
    Running(Box<Running>),
}

/// All of it.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) now: Moment,
    queue: BTreeMap<(Moment, u64), Event>,
    sequence: u64,
    pub(crate) table: Arc<MemoryTable>,
    pub(crate) table_down_until: Moment,
    pub(crate) bus_down_until: Moment,
    pub(crate) machines: Vec<Machine>,
    pub(crate) witness: Witness,
    runs: u64,
    /// The calls that have no answer yet.
    pub(crate) calls: BTreeSet<u64>,
    pub(crate) last_call: u64,
    /// When the last flush of one process to another one arrives, because the bus keeps their order.
    pub(crate) arrivals: BTreeMap<(u64, u64), Moment>,
    pub(crate) is_calm: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        let machines = (0..plan.nodes).map(|number| Machine::new(format!("node-{number}"), &mut random));
        // One machine has the name of another one by mistake, and is started by some faults only.
        let machines = machines.collect::<Vec<_>>().into_iter().chain([Machine::new("node-0".to_owned(), &mut random)]);
        Self {
            machines: machines.collect(),
            plan,
            random,
            now: Moment::from_nanoseconds(1_000_000_000_000),
            queue: BTreeMap::new(),
            sequence: 0,
            table: Arc::new(MemoryTable::new()),
            table_down_until: Moment::START,
            bus_down_until: Moment::START,
            witness: Witness::default(),
            runs: 0,
            calls: BTreeSet::new(),
            last_call: 0,
            arrivals: BTreeMap::new(),
            is_calm: false,
        }
    }

    pub(crate) fn after(&mut self, time: Duration, event: Event) {
        self.at(self.now + time, event);
    }

    pub(crate) fn at(&mut self, at: Moment, event: Event) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), event);
    }

    /// Runs all of it. Returns what was found.
    pub(crate) fn run(mut self) -> Witness {
        let begin = self.now;
        for machine in 0..self.plan.nodes {
            let after = self.random.time(0..3_000);
            self.after(after, Event::Start(machine));
            self.after(Duration::from_millis(500), Event::Traffic(machine));
            self.after(Duration::from_millis(500), Event::Commit(machine));
        }
        self.after(Duration::from_millis(2_000), Event::Fault);
        self.at(begin + CHAOS, Event::Quiet);
        self.at(begin + CALM, Event::Calm);
        self.at(begin + END, Event::End);
        while let Some(((now, _), event)) = self.queue.pop_first() {
            self.now = now;
            if matches!(event, Event::End) || !self.witness.findings.is_empty() {
                break;
            }
            self.happen(event);
        }
        self.finish();
        self.witness
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(machine) => self.start(machine),
            Event::Traffic(machine) => self.traffic(machine),
            Event::Commit(machine) => self.commit(machine),
            Event::Fault if self.is_calm => {}
            Event::Fault => {
                let fault = Fault::new(&mut self.random, self.plan.nodes);
                self.fault(fault);
                let after = self.random.time(200..self.plan.faults);
                self.after(after, Event::Fault);
            }
            Event::Mend(mend) => self.mend(mend),
            Event::Quiet => self.quiet(),
            Event::Calm => self.calm(),
            Event::End => {}
            Event::Ask(ask) => self.asked(ask),
            Event::Take { from, lane, flush } => self.taken(from, lane, &flush),
            Event::Ours { machine, run, ours } => self.ours(machine, run, ours),
        }
    }

    /// Something for one process: now, or when it goes on.
    fn ours(&mut self, machine: usize, run: u64, ours: Ours) {
        let at = &mut self.machines[machine];
        if at.process.as_ref().is_none_or(|process| process.run != run) {
            return;
        }
        match &mut at.stopped {
            Some(waiting) if waiting.len() < 10_000 || !matches!(ours, Ours::Bus(_)) => waiting.push_back(ours),
            Some(_) => {}
            None => {
                self.receive(machine, ours);
                self.step(machine);
            }
        }
    }

    /// Starts a process, unless one runs.
    pub(crate) fn start(&mut self, machine: usize) {
        if self.machines[machine].process.is_some() || self.is_name_running(machine) {
            return;
        }
        self.runs += 1;
        let (run, wake) = (self.runs, Moment::from_nanoseconds(u64::MAX));
        self.machines[machine].process = Some(Process { run, wake, state: State::Hello });
        self.machines[machine].stopped = None;
        if let Some(over) = self.machines[machine].over.take() {
            self.leave(over);
        }
        self.hello(machine);
    }

    /// Whether another machine has a running process of this one's name, and an operator would see that.
    fn is_name_running(&self, machine: usize) -> bool {
        let is_same = |at: &Machine| at.name == self.machines[machine].name && at.running().is_some();
        self.is_calm && self.machines.iter().any(is_same)
    }

    /// Ends a process, however it was.
    pub(crate) fn end(&mut self, machine: usize) {
        let at = &mut self.machines[machine];
        (at.process, at.stopped) = (None, None);
        at.goes_on(self.now);
    }

    /// Lets a process do what is due, and does what it wants.
    pub(crate) fn step(&mut self, machine: usize) {
        let at = &mut self.machines[machine];
        let (clock, now) = (at.clock, at.clock.local(self.now));
        let Some(Process { run, state: State::Running(running), .. }) = &mut at.process else {
            return self.step_waiting(machine);
        };
        let (run, id) = (*run, running.id);
        let mut actions = Vec::new();
        let wake = clock.world(running.step(now, &mut actions));
        let is_over = running.core.is_over();
        self.bounds(machine);
        self.act(machine, run, id, actions);
        if is_over {
            self.count(machine);
            self.end(machine);
            let after = self.random.time(100..5_000);
            return self.after(after, Event::Start(machine));
        }
        self.wake(machine, wake);
    }

    /// A process is to go on at a time, unless it does before.
    pub(crate) fn wake(&mut self, machine: usize, wake: Moment) {
        let Some(process) = &mut self.machines[machine].process else { return };
        if wake < process.wake || process.wake <= self.now {
            process.wake = wake;
            let run = process.run;
            self.at(wake, Event::Ours { machine, run, ours: Ours::Wake });
        }
    }

    pub(crate) fn act(&mut self, machine: usize, run: u64, id: NodeId, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Tell(output) => {
                    self.check_silence(machine, id, &output);
                    self.witness.told(id, output);
                }
                Action::Send(lane, flush) => {
                    let after = self.random.time(0..self.plan.bus_delay);
                    self.after(after, Event::Take { from: Sender { machine, run, id }, lane, flush });
                }
                Action::Renew { sent_at, limit } => self.ask_renew(machine, run, id, (sent_at, limit)),
                Action::List { sent_at, limit } => self.ask_list(machine, run, (sent_at, limit)),
                Action::DeclareDead(expired) => self.ask_to_declare_dead(machine, run, expired),
            }
        }
    }

    /// Who hears nothing itself can't say that others are silent.
    fn check_silence(&mut self, machine: usize, id: NodeId, output: &CoreOutput) {
        let at = &self.machines[machine];
        // Whoever was busy or stopped hears later what came before.
        let local = at.clock.local(self.now);
        let is_late = at.running().is_some_and(|running| local.since(running.busy_until) < DEAF)
            || self.now.since(at.disturbed_at) < DEAF;
        let is_deaf = !is_late && at.deaf_since.is_some_and(|since| self.now.since(since) > DEAF);
        if is_deaf && matches!(output, CoreOutput::Event(ClusterEvent::Silent(_))) {
            self.witness.findings.push(format!("{} was told {output:?} when it heard nothing at all", id.epoch));
        }
    }

    /// Nothing may grow past its bound.
    fn bounds(&mut self, machine: usize) {
        let Some(running) = self.machines[machine].running() else { return };
        let (queue, ring) = running.outgoing.bytes();
        let held = running.core.held_bytes();
        // The ring is cut when something is sent next.
        let last = LIMITS.message_bytes + 100;
        if queue > LIMITS.queue_bytes || ring > LIMITS.ring_bytes + last || held > LIMITS.ring_bytes {
            let id = running.id.epoch;
            self.witness.findings.push(format!("{id} has {queue} bytes queued, {ring} in its ring, {held} held"));
        }
    }

    fn traffic(&mut self, machine: usize) {
        if self.is_calm {
            return;
        }
        let after = self.random.time(1..self.plan.traffic);
        self.after(after, Event::Traffic(machine));
        let burst = if self.random.chance(5) { 30 } else { 1 };
        for _ in 0..burst {
            let lane = self.random_lane(machine);
            let more = self.random.one_of(&[0, 0, 0, 50, 550]);
            self.send(machine, lane, more);
        }
    }

    fn random_lane(&mut self, machine: usize) -> Lane {
        let others: Vec<Epoch> = self.others(machine);
        if others.is_empty() || self.random.chance(500) {
            return Lane::All;
        }
        Lane::Node(self.random.one_of(&others))
    }

    /// The nodes that a machine's host was told are up.
    fn others(&self, machine: usize) -> Vec<Epoch> {
        let up = self.machines[machine].running().map(|running| self.witness.up(running.id.epoch));
        up.unwrap_or_default()
    }

    fn send(&mut self, machine: usize, lane: Lane, more: usize) {
        if self.machines[machine].stopped.is_some() {
            return;
        }
        let Some(Process { state: State::Running(running), .. }) = &mut self.machines[machine].process else { return };
        let from = running.id.epoch;
        match running.outgoing.push(lane, self.witness.message(from, lane, more)) {
            Ok(()) => self.witness.sent(from, lane),
            Err(_) => self.witness.tally.full += 1,
        }
        self.step(machine);
    }

    /// All faults are mended, and what isn't running is started.
    fn quiet(&mut self) {
        self.is_calm = true;
        (self.table_down_until, self.bus_down_until) = (self.now, self.now);
        (self.plan.loss, self.plan.twice, self.plan.refused) = (0, 0, 0);
        for machine in 0..self.machines.len() {
            self.mend_all(machine);
        }
        for machine in 0..self.plan.nodes {
            self.after(Duration::from_millis(100), Event::Start(machine));
        }
    }

    /// Each node sends once more to all lanes, which must arrive.
    fn calm(&mut self) {
        for machine in 0..self.machines.len() {
            self.send(machine, Lane::All, 0);
            for node in self.others(machine) {
                self.send(machine, Lane::Node(node), 0);
            }
        }
    }

    fn finish(&mut self) {
        let running = self.machines.iter().filter_map(Machine::running);
        let ids: BTreeSet<Epoch> = running.map(|running| running.id.epoch).collect();
        if self.witness.findings.is_empty() && ids.len() < self.plan.nodes {
            self.witness.findings.push(format!("only {} of {} nodes run at the end", ids.len(), self.plan.nodes));
        }
        for machine in 0..self.machines.len() {
            self.count(machine);
            let Some(running) = self.machines[machine].running() else { continue };
            let id = running.id.epoch;
            let local = self.machines[machine].clock.local(self.now);
            let behind: u64 = running.core.nodes(local).map(|node| node.behind).sum();
            let held = running.core.held_bytes();
            let (queue, _) = running.outgoing.bytes();
            let is_good = running.lease.state(local) == LeaseState::Good;
            if self.witness.findings.is_empty() {
                if (behind, held, queue, is_good) != (0, 0, 0, true) {
                    let what =
                        format!("{id} at the end: {behind} behind, {held} held, {queue} queued, good: {is_good}");
                    self.witness.findings.push(what);
                }
                self.witness.check_end(id, &ids);
            }
        }
    }

    /// Adds the counts of a process that ends.
    pub(crate) fn count(&mut self, machine: usize) {
        let Some(running) = self.machines[machine].running() else { return };
        let (heard, dropped, _) = running.core.counts();
        let tally = &mut self.witness.tally;
        tally.nacks += running.outgoing.counts().nacks;
        tally.repeats += heard.repeats;
        tally.duplicates += dropped.duplicate;
        tally.dead_flushes += dropped.dead;
        if dropped.malformed + dropped.forged + dropped.version > 0 {
            self.witness.findings.push(format!("{} couldn't read a flush", running.id.epoch));
        }
    }

    /// Something comes from the bus for a machine, with the order of each sender.
    pub(crate) fn deliver(&mut self, machine: usize, event: BusEvent, from: u64, after: Duration) {
        let Some(run) = self.machines[machine].process.as_ref().map(|process| process.run) else { return };
        let arrival = self.arrivals.entry((from, run)).or_insert(Moment::START);
        *arrival = (*arrival).max(self.now + after);
        let at = *arrival;
        self.at(at, Event::Ours { machine, run, ours: Ours::Bus(event) });
    }
}

impl Machine {
    fn new(name: String, random: &mut Random) -> Self {
        Self {
            name,
            clock: Clock::new(random),
            process: None,
            stopped: None,
            bus_cut_until: Moment::START,
            table_cut_until: Moment::START,
            deaf_since: None,
            disturbed_at: Moment::START,
            paused_until: Moment::START,
            over: None,
        }
    }

    /// Its clock goes on, if it stood still.
    pub(crate) fn goes_on(&mut self, now: Moment) {
        if self.clock.go_on(now) {
            self.paused_until = self.clock.local(now);
        }
    }

    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.process {
            Some(Process { state: State::Running(running), .. }) => Some(running),
            _ => None,
        }
    }

    pub(crate) fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.process {
            Some(Process { state: State::Running(running), .. }) => Some(running),
            _ => None,
        }
    }
}
