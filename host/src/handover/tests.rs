//! Both state machines against each other: every order of messages, failures, timeouts, and the death of either process at
//! each step. There is always exactly one host that serves in the end, and never two at once.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use super::{Predecessor, PredecessorAction, PredecessorEvent, Successor, SuccessorAction, SuccessorEvent, Times};

/// Who has the lock of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Old,
    New,
    Nobody,
}

/// Two processes, the messages between them, and the work that they have begun.
#[derive(Clone, Debug)]
struct World {
    old: Option<Predecessor>,
    new: Option<Successor>,
    to_old: VecDeque<PredecessorEvent>,
    to_new: VecDeque<SuccessorEvent>,
    old_works: Option<PredecessorAction>,
    new_works: Option<SuccessorAction>,
    owner: Owner,
    old_serves: bool,
    new_serves: bool,
    /// The old host takes the store back as soon as it can.
    old_waits: bool,
    /// The old host has given way.
    old_is_done: bool,
    old_lives: bool,
    new_lives: bool,
    crashes: u32,
}

impl World {
    fn new(now: Instant) -> Self {
        Self {
            old: Some(Predecessor::new(Times::default(), now)),
            new: Some(Successor::new(now)),
            to_old: VecDeque::new(),
            to_new: VecDeque::from([SuccessorEvent::Welcome]),
            old_works: None,
            new_works: None,
            owner: Owner::Old,
            old_serves: true,
            new_serves: false,
            old_waits: false,
            old_is_done: false,
            old_lives: true,
            new_lives: true,
            crashes: 0,
        }
    }

    /// All worlds that may follow.
    fn next(&self, now: Instant) -> Vec<Self> {
        let mut next = Vec::new();
        self.next_of_old(now, &mut next);
        self.next_of_new(now, &mut next);
        if self.crashes == 0 && self.old_lives {
            self.add(&mut next, &|world| {
                world.crashes += 1;
                world.end_old();
            });
        }
        if self.crashes == 0 && self.new_lives {
            self.add(&mut next, &|world| {
                world.crashes += 1;
                world.end_new();
            });
        }
        next
    }

    fn add(&self, next: &mut Vec<Self>, change: &dyn Fn(&mut Self)) {
        let mut world = self.clone();
        change(&mut world);
        world.settle();
        next.push(world);
    }

    fn next_of_old(&self, now: Instant, next: &mut Vec<Self>) {
        let mut add = |change: &dyn Fn(&mut Self)| self.add(next, change);
        if self.old_lives && self.old.as_ref().is_some_and(|old| old.deadline().is_some()) {
            if let Some(told) = self.to_old.front() {
                add(&|world| {
                    world.to_old.pop_front();
                    world.tell_old(told.clone(), now);
                });
            } else if !self.new_lives {
                add(&|world| world.tell_old(PredecessorEvent::Gone, now));
            }
            match &self.old_works {
                Some(PredecessorAction::EndTurns) => {
                    add(&|world| world.old_done(PredecessorEvent::TurnsOver, now));
                    add(&|world| world.old_done(PredecessorEvent::Failed("turns".into()), now));
                }
                Some(PredecessorAction::Send) => {
                    add(&|world| {
                        world.owner = Owner::Nobody;
                        world.to_new.push_back(SuccessorEvent::Received);
                        world.old_done(PredecessorEvent::Sent, now);
                    });
                    // It fails after the store was given up, or before.
                    add(&|world| {
                        world.owner = Owner::Nobody;
                        world.old_done(PredecessorEvent::Failed("sending".into()), now);
                    });
                    add(&|world| world.old_done(PredecessorEvent::Failed("storing".into()), now));
                }
                _ => {}
            }
            add(&|world| world.tell_old(PredecessorEvent::Stop, now));
            let deadline = self.old.as_ref().and_then(Predecessor::deadline).unwrap_or(now);
            add(&|world| world.tell_old(PredecessorEvent::Tick, deadline));
        }
    }

    fn next_of_new(&self, now: Instant, next: &mut Vec<Self>) {
        let mut add = |change: &dyn Fn(&mut Self)| self.add(next, change);
        if self.new_lives && self.new.is_some() && !self.new_serves {
            if let Some(told) = self.to_new.front() {
                add(&|world| {
                    world.to_new.pop_front();
                    world.tell_new(told.clone(), now);
                });
            } else if !self.old_lives {
                add(&|world| world.tell_new(SuccessorEvent::Gone, now));
            }
            match &self.new_works {
                Some(SuccessorAction::Prepare) => {
                    add(&|world| world.new_done(SuccessorEvent::Prepared, now));
                    add(&|world| world.new_done(SuccessorEvent::Failed("compiling".into()), now));
                }
                Some(SuccessorAction::Adopt) => {
                    let is_free = self.owner == Owner::Nobody;
                    add(&|world| {
                        if is_free {
                            world.owner = Owner::New;
                            world.new_done(SuccessorEvent::Adopted, now);
                        } else {
                            world.new_done(SuccessorEvent::Failed("in use".into()), now);
                        }
                    });
                    add(&|world| world.new_done(SuccessorEvent::Failed("adopting".into()), now));
                }
                _ => {}
            }
            if let Some(deadline) = self.new.as_ref().and_then(Successor::deadline) {
                add(&|world| world.tell_new(SuccessorEvent::Tick, deadline));
            }
        }
    }

    fn old_done(&mut self, told: PredecessorEvent, now: Instant) {
        self.old_works = None;
        self.tell_old(told, now);
    }

    fn new_done(&mut self, told: SuccessorEvent, now: Instant) {
        self.new_works = None;
        self.tell_new(told, now);
    }

    fn tell_old(&mut self, told: PredecessorEvent, now: Instant) {
        let Some(old) = &mut self.old else { return };
        for action in old.on(told, now) {
            match action {
                PredecessorAction::EndTurns => {
                    self.old_serves = false;
                    self.old_works = Some(PredecessorAction::EndTurns);
                }
                PredecessorAction::Send => self.old_works = Some(PredecessorAction::Send),
                PredecessorAction::Abort(why) => {
                    self.old_works = None;
                    self.to_new.push_back(SuccessorEvent::Aborted(why));
                }
                PredecessorAction::Kill => self.end_new(),
                PredecessorAction::Resume(_) => {
                    self.old_works = None;
                    self.old_waits = true;
                }
                PredecessorAction::GoOn(_) => {}
                PredecessorAction::GiveWay => {
                    assert!(self.new_serves || self.crashes > 0, "{self:?}");
                    self.old_is_done = true;
                    self.end_old();
                }
            }
        }
    }

    fn tell_new(&mut self, told: SuccessorEvent, now: Instant) {
        let Some(new) = &mut self.new else { return };
        match new.on(told, now) {
            None => {}
            Some(SuccessorAction::SayPrepared) => self.to_old.push_back(PredecessorEvent::Prepared),
            Some(SuccessorAction::StartAlone) => {
                assert_eq!(self.owner, Owner::Nobody, "{self:?}");
                (self.owner, self.new_serves) = (Owner::New, true);
            }
            Some(SuccessorAction::Serve) => {
                self.to_old.push_back(PredecessorEvent::Serving);
                self.new_serves = true;
            }
            Some(SuccessorAction::GiveUp(why)) => {
                self.to_old.push_back(PredecessorEvent::GivesUp(why));
                self.end_new();
            }
            Some(works) => self.new_works = Some(works),
        }
    }

    /// The locks of a process that has ended are free.
    fn end_old(&mut self) {
        (self.old_lives, self.old_serves, self.old_waits, self.old_works) = (false, false, false, None);
        if self.owner == Owner::Old {
            self.owner = Owner::Nobody;
        }
    }

    fn end_new(&mut self) {
        (self.new_lives, self.new_serves, self.new_works) = (false, false, None);
        if self.owner == Owner::New {
            self.owner = Owner::Nobody;
        }
    }

    /// A host that takes the store back gets it once it is free.
    fn settle(&mut self) {
        if self.old_waits && self.owner != Owner::New {
            (self.owner, self.old_waits, self.old_serves) = (Owner::Old, false, true);
        }
    }
}

#[test]
fn one_host_serves_in_the_end_and_never_two_whatever_fails() {
    let now = Instant::now();
    let mut waiting = vec![World::new(now)];
    let (mut known, mut ends) = (HashSet::new(), [0; 3]);
    while let Some(world) = waiting.pop() {
        assert!(!(world.old_serves && world.new_serves), "both serve: {world:?}");
        if !known.insert(format!("{world:?}")) {
            continue;
        }
        let next = world.next(now);
        // Without a further crash, nothing happens any more.
        if next.iter().all(|next| next.crashes > world.crashes) {
            match (world.old_serves, world.new_serves) {
                (true, false) => ends[0] += 1,
                (false, true) => ends[1] += 1,
                // Only if the one that served has crashed.
                _ => {
                    assert!(world.crashes > 0 && (world.old_is_done || !world.new_lives), "nobody serves: {world:?}");
                    ends[2] += 1;
                }
            }
        }
        waiting.extend(next);
    }
    assert!(ends.iter().all(|ends| *ends > 0), "{ends:?}");
}

#[test]
fn a_successor_that_hangs_with_the_store_is_told_to_end_and_then_killed() {
    let (now, times) = (Instant::now(), Times::default());
    let mut old = Predecessor::new(times, now);
    assert_eq!(old.on(PredecessorEvent::Prepared, now), [PredecessorAction::EndTurns]);
    assert_eq!(old.on(PredecessorEvent::TurnsOver, now), [PredecessorAction::Send]);
    assert_eq!(old.on(PredecessorEvent::Sent, now), Vec::new());
    assert_eq!(old.deadline(), Some(now + times.adopt));
    assert_eq!(old.on(PredecessorEvent::Tick, now), Vec::new(), "it is too early");
    let late = now + times.adopt;
    let why = "adopting the state took longer than 60s".to_owned();
    assert_eq!(old.on(PredecessorEvent::Tick, late), [PredecessorAction::Abort(why.clone())]);
    assert_eq!(old.on(PredecessorEvent::Tick, late + times.abort), [PredecessorAction::Kill]);
    assert_eq!(old.on(PredecessorEvent::Gone, late + times.abort), [PredecessorAction::Resume(why)]);
    assert_eq!((old.deadline(), old.on(PredecessorEvent::Serving, late)), (None, vec![]));
}

#[test]
fn turns_that_do_not_end_leave_the_host_as_it_was() {
    let (now, times) = (Instant::now(), Times::default());
    let mut old = Predecessor::new(times, now);
    let _ = old.on(PredecessorEvent::Prepared, now);
    let why = "ending the turns that run took longer than 10s".to_owned();
    let steps = old.on(PredecessorEvent::Tick, now + times.turns);
    assert_eq!(steps, [PredecessorAction::Abort(why.clone()), PredecessorAction::Resume(why)]);
}

#[test]
fn a_successor_starts_alone_if_the_running_host_dies_before_its_state_is_there() {
    let now = Instant::now();
    for events in [vec![], vec![SuccessorEvent::Welcome], vec![SuccessorEvent::Welcome, SuccessorEvent::Prepared]] {
        let mut new = Successor::new(now);
        for event in events {
            assert!(new.on(event, now).is_some());
        }
        assert_eq!(new.on(SuccessorEvent::Gone, now), Some(SuccessorAction::StartAlone));
    }
    let mut new = Successor::new(now);
    let all = [SuccessorEvent::Welcome, SuccessorEvent::Prepared, SuccessorEvent::Received];
    let steps: Vec<_> = all.into_iter().filter_map(|event| new.on(event, now)).collect();
    assert_eq!(steps, [SuccessorAction::Prepare, SuccessorAction::SayPrepared, SuccessorAction::Adopt]);
    assert_eq!(new.on(SuccessorEvent::Gone, now), None, "it has all of the state");
    assert_eq!(new.on(SuccessorEvent::Adopted, now), Some(SuccessorAction::Serve));
}
