//! What goes wrong.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bennu_cluster::{BusEvent, Moment};

use crate::event::Event;
use crate::random::Random;
use crate::world::World;

/// Something that goes wrong on a machine, or for all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The process is stopped, and goes on later. The clock goes on, also if the whole machine sleeps.
    Stop(usize, Duration),
    /// The machine is paused, as a virtual machine can be: the process and the clock stand still, and go on later.
    Pause(usize, Duration),
    /// The clock of the machine jumps ahead.
    Jump(usize, Duration),
    /// The process is killed, and started again. The new one may know that it is over.
    Kill(usize, Duration, bool),
    /// The node leaves, and is started again.
    Leave(usize, Duration),
    /// The machine doesn't reach the bus.
    CutBus(usize, Duration),
    /// The machine doesn't reach the table.
    CutTable(usize, Duration),
    /// The host takes no events.
    Busy(usize, Duration),
    /// Nobody reaches the bus.
    BusDown(Duration),
    /// Nobody reaches the table.
    TableDown(Duration),
    /// The table loses the row of a node.
    LoseRow(usize),
    /// A machine of the same name is started.
    Namesake,
}

/// What works again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mend {
    Continue(usize, u64),
    Bus(usize),
    AllBuses,
}

/// How far a clock jumps ahead, in milliseconds. To the node, each such jump is a break in its polls of the table: they have a break after two
/// fifths of a lease. It can't tell a shorter jump from time that has passed, and a lease allows only for clocks that run a bit too fast.
const JUMPS: Range<u64> = 5_000..300_000;

impl Fault {
    pub(crate) fn new(random: &mut Random, nodes: usize) -> Self {
        let machine = usize::try_from(random.below(0..nodes as u64 + 1)).expect("a few machines");
        let short = random.time(300..6_000);
        let long = random.time(500..25_000);
        let either = random.one_of(&[short, long]);
        match random.below(0..24) {
            0..=3 => Self::Stop(machine, either),
            4..=6 => Self::Kill(machine, short, random.chance(300)),
            7 => Self::Leave(machine, short),
            8..=10 => Self::CutBus(machine, either),
            11..=13 => Self::CutTable(machine, either),
            14 => Self::Busy(machine, either),
            15 => Self::BusDown(either),
            16 | 17 => Self::TableDown(long),
            18 => Self::LoseRow(machine),
            19 => Self::Namesake,
            20 | 21 => Self::Pause(machine, either),
            _ => Self::Jump(machine, random.time(JUMPS)),
        }
    }
}

impl World {
    pub(crate) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Stop(machine, time) => {
                self.stop(machine, time);
            }
            Fault::Pause(machine, time) => {
                if self.stop(machine, time) {
                    self.machines[machine].clock.pause(self.now);
                    self.witness.tally.pauses += 1;
                }
            }
            Fault::Jump(machine, ahead) => {
                self.machines[machine].clock.jump(ahead);
                self.witness.tally.jumps += u64::from(self.machines[machine].running().is_some());
            }
            Fault::Kill(machine, time, is_known) => {
                let id = self.machines[machine].running().map(|running| running.id);
                self.count(machine);
                self.end(machine);
                self.machines[machine].over = id.filter(|_| is_known);
                self.after(time, Event::Start(machine));
            }
            Fault::Leave(machine, time) => {
                if let Some(id) = self.machines[machine].running().map(|running| running.id) {
                    self.count(machine);
                    self.end(machine);
                    self.leave(id);
                }
                self.after(time, Event::Start(machine));
            }
            Fault::CutBus(machine, time) => {
                self.machines[machine].bus_cut_until = self.now + time;
                self.deafen(machine);
                self.after(time, Event::Mend(Mend::Bus(machine)));
            }
            Fault::CutTable(machine, time) => self.machines[machine].table_cut_until = self.now + time,
            Fault::Busy(machine, time) => {
                let at = &mut self.machines[machine];
                let until = at.clock.local(self.now + time);
                if let Some(running) = at.running_mut() {
                    running.busy_until = until;
                }
            }
            Fault::BusDown(time) => {
                self.bus_down_until = self.now + time;
                (0..self.machines.len()).for_each(|machine| self.deafen(machine));
                self.after(time, Event::Mend(Mend::AllBuses));
            }
            Fault::TableDown(time) => self.table_down_until = self.now + time,
            Fault::LoseRow(machine) => {
                if let Some(running) = self.machines[machine].running() {
                    self.table.lose(running.id.epoch);
                }
            }
            Fault::Namesake => self.start(self.plan.nodes),
        }
    }

    /// Nothing of the bus reaches a machine from now on. Sometimes the connection doesn't tell so.
    fn deafen(&mut self, machine: usize) {
        self.machines[machine].deaf_since.get_or_insert(self.now);
        if self.random.chance(500) {
            self.bus_event(machine, BusEvent::Down);
        }
    }

    /// Stops the process, unless there is none or it is stopped already. Returns whether it does.
    fn stop(&mut self, machine: usize, time: Duration) -> bool {
        let at = &mut self.machines[machine];
        let Some(run) = at.process.as_ref().map(|process| process.run) else { return false };
        let stops = at.stopped.is_none();
        if stops {
            at.stopped = Some(VecDeque::new());
            self.after(time, Event::Mend(Mend::Continue(machine, run)));
        }
        stops
    }

    fn go_on(&mut self, machine: usize) {
        let at = &mut self.machines[machine];
        let Some(waiting) = at.stopped.take() else { return };
        at.goes_on(self.now);
        at.disturbed_at = self.now;
        let Some(run) = at.process.as_ref().map(|process| process.run) else { return };
        for ours in waiting {
            self.at(self.now, Event::Ours { machine, run, ours });
        }
    }

    pub(crate) fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Continue(machine, run) => {
                if self.machines[machine].process.as_ref().is_some_and(|process| process.run == run) {
                    self.go_on(machine);
                }
            }
            Mend::Bus(machine) => {
                if self.has_bus(machine) {
                    self.machines[machine].deaf_since = None;
                    self.bus_event(machine, BusEvent::Up);
                }
            }
            Mend::AllBuses => (0..self.machines.len()).for_each(|machine| self.mend(Mend::Bus(machine))),
        }
    }

    /// Everything works again on a machine.
    pub(crate) fn mend_all(&mut self, machine: usize) {
        self.go_on(machine);
        let at = &mut self.machines[machine];
        if self.now < at.table_cut_until {
            at.disturbed_at = self.now;
        }
        at.table_cut_until = Moment::START;
        at.bus_cut_until = Moment::START;
        at.deaf_since = None;
        if let Some(running) = at.running_mut() {
            running.busy_until = Moment::START;
        }
        self.bus_event(machine, BusEvent::Up);
    }
}
