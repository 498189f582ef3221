//! The host's side of one call: the values that the callback can read, and the record of its effects.

use bennu_semantics::deliveries::{Delivery, DeliveryRow};
use bennu_semantics::jobs::{JobRow, Schedule};
use bennu_semantics::limits::{LISTED_MAX, keys};
use bennu_semantics::{
    AnswerRef, CallLimits, Capability, Decision, Effect, Fault, Fired, HttpRequest, HttpResult, MemberUsage, Payload,
    Record, TimerId, Topic, TopicCallback, limit_key, one_line,
};

use crate::entries::CallEntries;
use crate::stored::{Draft, Order, Row, Stored};
use crate::tokens::{self, TokenProblem};
use crate::{HostFacts, Person, SocketFacts};

/// The level of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The finest details of a run.
    Trace,
    /// Details for debugging.
    Debug,
    /// Usual events.
    Info,
    /// Unexpected events.
    Warn,
    /// Failures.
    Error,
}

/// The host's side of one call.
#[derive(Debug)]
pub struct CallContext {
    host: HostFacts,
    /// `None` in a callback without a member.
    socket: Option<SocketFacts>,
    /// The topic of the callback. `None` if it is about none, as a gatekeeper's.
    topic: Option<Topic>,
    limits: CallLimits,
    record: Record,
    /// Its view of the store. `None` if it may not use the store.
    draft: Option<Draft>,
    may_write: bool,
    /// Its view of the topic's entries. `None` if it has none.
    entries: Option<CallEntries>,
    lines: Vec<(Level, String)>,
    /// The topic message that the call is about, if somebody waits for its answer.
    answer_ref: Option<AnswerRef>,
    /// The topic and the schedule that the call is about.
    fired: Option<(Topic, Fired)>,
    /// The number of requests for whose answers it has waited. `None` if it may not wait.
    gets: Option<usize>,
}

/// The result of a call, apart from the value that its callback returned.
#[derive(Debug)]
pub(crate) struct CallEnd {
    /// The values of the host.
    pub(crate) host: HostFacts,
    /// The content of the store after a commit.
    pub(crate) stored: Stored,
    /// Its view of the topic's entries, if it has one.
    pub(crate) entries: Option<CallEntries>,
    /// The effects, in order.
    pub(crate) effects: Vec<Effect>,
    /// The log lines.
    pub(crate) lines: Vec<(Level, String)>,
}

/// A call that may only read, on a host with default values.
impl Default for CallContext {
    fn default() -> Self {
        Self::reading(HostFacts::default())
    }
}

/// Start and end of a call.
impl CallContext {
    /// For a callback of a member that has `usage` at the host. `given` is the payload of its input.
    pub(crate) fn of_member(
        host: HostFacts,
        topic: &Topic,
        socket: SocketFacts,
        usage: MemberUsage,
        given: Option<&Payload>,
    ) -> Self {
        let topic = Some(topic.clone());
        let mut context = Self { socket: Some(socket), topic, may_write: true, gets: Some(0), ..Self::reading(host) };
        context.record.open(usage, given);
        context
    }

    /// For a callback of a topic.
    pub(crate) fn of_topic(host: HostFacts, topic: &Topic, callback: &TopicCallback) -> Self {
        let fired = callback.fired().map(|fired| (topic.clone(), fired.clone()));
        let answer_ref = callback.answer_ref();
        let topic = Some(topic.clone());
        let mut context = Self { topic, may_write: true, answer_ref, fired, gets: Some(0), ..Self::reading(host) };
        context.record.open_with(Capability::Topic, callback.given());
        context
    }

    /// For a callback that only reads.
    #[must_use]
    pub fn reading(host: HostFacts) -> Self {
        let limits = CallLimits::default();
        let mut record = Record::new(limits.clone());
        record.open_with(Capability::Reads, None);
        let draft = Some(Draft::of(&host.stored, host.now));
        Self {
            host,
            socket: None,
            topic: None,
            limits,
            record,
            draft,
            may_write: false,
            entries: None,
            lines: Vec::new(),
            answer_ref: None,
            fired: None,
            gets: None,
        }
    }

    /// For a gatekeeper's `connect`.
    #[must_use]
    pub fn connecting(host: HostFacts) -> Self {
        Self { gets: Some(0), ..Self::reading(host) }
    }

    /// A call that may not wait for answers by HTTP: a `terminate`.
    #[must_use]
    pub(crate) fn without_http(self) -> Self {
        Self { gets: None, ..self }
    }

    /// For an upgrade, which may not use the store.
    #[must_use]
    pub fn upgrading(host: HostFacts) -> Self {
        Self { draft: None, ..Self::reading(host) }
    }

    /// A call that may use these entries.
    pub(crate) fn with_entries(mut self, entries: Option<CallEntries>) -> Self {
        entries.iter().for_each(|entries| self.record.set_published(&entries.publishes()));
        Self { entries, ..self }
    }

    pub(crate) fn entries(&mut self) -> Result<&mut CallEntries, Fault> {
        self.entries.as_mut().ok_or_else(Fault::no_entries)
    }

    /// The same for a write.
    pub(crate) fn entries_to_write(&mut self) -> Result<&mut CallEntries, Fault> {
        self.record.check_undiscarded()?;
        self.entries()
    }

    /// The record, which checks the callback's result.
    pub(crate) fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Checks a decision about an intercepted event.
    pub(crate) fn check_decision(&mut self, decision: &Decision) -> Result<(), Fault> {
        self.record.check_decision(decision)
    }

    /// Ends the call.
    pub(crate) fn end(mut self) -> CallEnd {
        if let (Some(draft), Some((topic, Fired { key: Some(key), .. }))) = (&mut self.draft, self.fired.take()) {
            draft.schedules.finish(topic, key);
        }
        let stored = self.draft.take().map_or_else(|| self.host.stored.clone(), Draft::commit);
        let (entries, effects) = (self.entries.take(), self.record.take());
        CallEnd { host: self.host, stored, entries, effects, lines: self.lines }
    }
}

/// `interface host`, and `token`.
impl CallContext {
    /// Milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.host.now
    }

    /// An id that no other call gets.
    pub fn unique_id(&mut self) -> String {
        self.host.draw_id()
    }

    /// A pseudo-random number.
    pub fn random(&mut self) -> u64 {
        self.host.draw_random()
    }

    /// The plugin's configuration: the text of a JSON object.
    #[must_use]
    pub fn configuration(&self) -> &str {
        &self.host.configuration
    }

    /// Writes a line to the log.
    ///
    /// # Errors
    /// The fault with which the callback has to end.
    pub fn log(&mut self, level: Level, line: &str) -> Result<(), Fault> {
        if self.lines.len() >= self.limits.log_lines {
            return Err(Fault::log_lines(self.limits.log_lines));
        }
        self.lines.push((level, one_line(line.to_owned())));
        Ok(())
    }

    /// Signs a JSON value.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn sign(&self, salt: &str, value: &str, max_age: Option<u64>) -> Result<String, Fault> {
        tokens::check(value)?;
        Ok(tokens::sign(self.host.now, salt, value, max_age))
    }

    /// The value of a token, as JSON.
    ///
    /// # Errors
    /// If the token isn't valid.
    pub fn verify(&self, salt: &str, token: &str, max_age: Option<u64>) -> Result<String, TokenProblem> {
        tokens::verify(self.host.now, salt, token, max_age)
    }
}

/// `interface member`.
impl CallContext {
    /// The member's socket.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn member(&self) -> Result<&SocketFacts, Fault> {
        self.socket.as_ref().ok_or_else(Fault::no_member)
    }
}

/// Effects: `interface socket`, and some functions of `presence`.
impl CallContext {
    /// Asks for an effect. Returns the number of a timer.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn ask(&mut self, effect: Effect) -> Result<Option<TimerId>, Fault> {
        let own_id = self.socket.as_ref().and_then(|socket| socket.socket_id.as_deref());
        self.host.check_reach(|reach| reach.check(&effect, own_id))?;
        if let Effect::Schedule(_) | Effect::CancelSchedule { .. } = effect {
            return self.set_schedule(effect).map(|()| None);
        }
        self.record.ask(effect)
    }

    /// A schedule is stored with the other writes of the call.
    fn set_schedule(&mut self, mut effect: Effect) -> Result<(), Fault> {
        self.record.check_stored(&mut effect)?;
        let draft = self.writable()?;
        match effect {
            Effect::Schedule(schedule) => {
                let Schedule { topic, at_ms, key, event, payload } = *schedule;
                draft.set_schedule(topic, key, Some(JobRow::new(at_ms, event, payload)))
            }
            Effect::CancelSchedule { topic, key } => draft.set_schedule(topic, key, None),
            _ => Ok(()),
        }
    }
}

impl CallContext {
    /// The name of the topic message that the call is about, for a later answer.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn answer_ref(&mut self) -> Result<Option<String>, Fault> {
        let Some(answer_ref) = self.answer_ref else { return Ok(None) };
        self.record.ask(Effect::AnswerLater)?;
        Ok(Some(answer_ref.to_string()))
    }
}

/// The functions of `interface schedule` that read.
impl CallContext {
    /// When a schedule is due.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn schedule_due(&self, topic: &str, key: &str) -> Result<Option<u64>, Fault> {
        self.host.check_reach(|reach| reach.check_schedulable(topic))?;
        Ok(self.draft.as_ref().ok_or_else(Fault::no_store)?.schedule_due(&topic.into(), key))
    }

    /// When the schedule that the call is about was due.
    #[must_use]
    pub fn fired_due(&self) -> Option<u64> {
        self.fired.as_ref().map(|(_, fired)| fired.due_ms)
    }

    /// The key of the schedule that the call is about.
    #[must_use]
    pub fn fired_key(&self) -> Option<&str> {
        self.fired.as_ref().and_then(|(_, fired)| fired.key.as_deref())
    }
}

/// `socket.discard`.
impl CallContext {
    /// Discards all effects and writes of the call so far. It can have no further ones.
    pub fn discard(&mut self) {
        self.record.discard();
        self.draft.iter_mut().for_each(Draft::discard_writes);
        self.entries.iter_mut().for_each(CallEntries::discard_writes);
    }
}

/// `interface http`, except `request`.
impl CallContext {
    /// Stores a request that is sent until the server accepts it. Returns its id.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn deliver(&mut self, delivery: Delivery) -> Result<String, Fault> {
        self.record.check_delivery(&delivery)?;
        let (id, now_ms) = (self.host.draw_id(), self.host.now);
        let row = DeliveryRow::new(delivery, "plugin", self.topic.as_ref(), now_ms);
        self.writable()?.deliver(id.clone(), row)?;
        Ok(id)
    }

    /// Waits for the answer to a request.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn http_get(&mut self, request: &HttpRequest) -> Result<HttpResult, Fault> {
        request.check_reads()?;
        let most = self.limits.http_gets;
        match &mut self.gets {
            None => Err(Fault::no_http()),
            Some(gets) if *gets >= most => {
                let key = limit_key(keys::HTTP_GETS_PER_CALL, most);
                Err(Fault::oversize(format!("a call waits for at most {most} answers by HTTP{key}")))
            }
            Some(gets) => {
                *gets += 1;
                Ok(self.host.http.answer(&request.method, &request.url))
            }
        }
    }
}

/// What a call reads about topics: `interface topics`, and the other functions of `presence`.
impl CallContext {
    /// All presences of a topic: the text of a JSON object.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn presences(&self, topic: &str) -> Result<String, Fault> {
        self.host.check_reach(|reach| reach.check_readable(topic))?;
        Ok(self.host.online.state(topic).to_string())
    }

    /// One key's presences.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn presence(&self, topic: &str, key: &str) -> Result<Option<String>, Fault> {
        self.host.check_reach(|reach| reach.check_readable(topic))?;
        Ok(self.host.online.of(topic, key).map(|metas| metas.to_string()))
    }

    /// How many members a topic has.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn count(&self, topic: &str) -> Result<u32, Fault> {
        self.host.check_reach(|reach| reach.check_readable(topic))?;
        Ok(self.host.people.get(topic).map_or(0, |people| count(people)))
    }

    /// Members of a topic, up to `limit`.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn members(&self, topic: &str, limit: u32) -> Result<Vec<Person>, Fault> {
        self.host.check_reach(|reach| reach.check_readable(topic))?;
        let people = self.host.people.get(topic).into_iter().flatten();
        Ok(people.take(most(limit)).cloned().collect())
    }

    /// The topics with a prefix that come after `after`, up to `limit`, each with how many members it has.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn topics(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<(String, u32)>, Fault> {
        self.host.check_reach(|reach| reach.check_readable_under(prefix))?;
        let topics = self.host.people.iter().filter(|(name, people)| {
            name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after) && !people.is_empty()
        });
        Ok(topics.take(most(limit)).map(|(name, people)| (name.clone(), count(people))).collect())
    }
}

/// `interface store`.
impl CallContext {
    /// A key's value.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.draft.as_ref().ok_or_else(Fault::no_store)?.get(key)
    }

    /// Entries from one key up to another, in an order.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn scan(&self, start: Option<&[u8]>, end: Option<&[u8]>, order: Order, limit: u32) -> Result<Vec<Row>, Fault> {
        self.draft.as_ref().ok_or_else(Fault::no_store)?.scan((start, end), order, limit)
    }

    /// Stores a value under a key.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.writable()?.put(key, value)
    }

    /// Stores a value under a key for a time in milliseconds.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn put_expiring(&mut self, key: &[u8], value: &[u8], milliseconds: u64) -> Result<(), Fault> {
        self.writable()?.put_expiring(key, value, milliseconds)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.writable()?.delete(key)
    }

    fn writable(&mut self) -> Result<&mut Draft, Fault> {
        let draft = self.draft.as_mut().ok_or_else(Fault::no_store)?;
        if !self.may_write {
            return Err(Fault::read_only());
        }
        self.record.check_undiscarded()?;
        Ok(draft)
    }
}

fn count(people: &[Person]) -> u32 {
    u32::try_from(people.len()).unwrap_or(u32::MAX)
}

fn most(limit: u32) -> usize {
    usize::try_from(limit.min(LISTED_MAX)).unwrap_or(usize::MAX)
}
