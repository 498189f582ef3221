//! The client of `bennu kit` as the code that runs callbacks. A call is a line to the client. Until it returns, the
//! client can call functions of the host.

use anyhow::anyhow;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu_semantics::{
    Answer, Callback, Decision, EntryUpgrade, Fault, Part, Passing, RouteSpec, SeatChange, Stop, TopicCall,
    TopicCallback, Upgrade,
};
use bennu_world::{CallContext, CallOutcome, Callbacks, MemberCall};
use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::asks;
use super::fields::{Fields, Misread, StateForm};
use super::wire::{Incoming, Wire};
use super::written::Written;

/// The client.
pub(super) struct Peer {
    wire: Wire,
    pub(super) routes: Vec<RouteSpec>,
    pub(super) form: StateForm,
    /// The error that ended the connection to the client.
    gone: Option<anyhow::Error>,
}

impl Peer {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, routes: Vec::new(), form: StateForm::default(), gone: None }
    }

    /// The next line. An unreadable line is answered with an error and skipped. `None` if the client is gone.
    pub(super) fn read(&mut self) -> Option<String> {
        while self.gone.is_none() {
            match self.wire.read() {
                Ok(Incoming::Line(line)) => return Some(line),
                Ok(Incoming::Unreadable(why)) => self.refuse(&why),
                Ok(Incoming::End) => return None,
                Err(error) => self.gone = Some(anyhow!(error).context("reading from the client")),
            }
        }
        None
    }

    pub(super) fn write(&mut self, line: Written) {
        if self.gone.is_none()
            && let Err(error) = self.wire.write(&line.end())
        {
            self.gone = Some(anyhow!(error).context("writing to the client"));
        }
    }

    /// Answers a line that isn't understood.
    pub(super) fn refuse(&mut self, why: &str) {
        self.write(Written::new("error", why));
    }

    /// Takes the error that ended the connection to the client, if any.
    pub(super) fn take_failure(&mut self) -> Option<anyhow::Error> {
        self.gone.take()
    }

    /// Calls a callback of the client, and runs the functions that it calls, until it returns or fails.
    fn exchange<T>(
        &mut self,
        call: Written,
        context: &mut CallContext,
        read: impl Fn(&mut Fields<'_>, StateForm) -> Misread<T>,
    ) -> Result<T, Fault> {
        self.write(call);
        // A host ends a callback at its first fault. So after a fault the call has failed, whatever the client returns.
        let mut first: Option<Fault> = None;
        loop {
            let Some(line) = self.read() else {
                self.gone.get_or_insert_with(|| anyhow!("the client has gone in the middle of a callback"));
                return Err(Fault::failed("the client has gone"));
            };
            match self.heard(&line, context, &mut first, &read) {
                Ok(Some(returned)) => return first.map_or(returned, Err),
                Ok(None) => {}
                Err(why) => self.refuse(&why),
            }
        }
    }

    /// Handles a line of the client during a callback. Returns the callback's result, if it ended.
    fn heard<T>(
        &mut self,
        line: &str,
        context: &mut CallContext,
        first: &mut Option<Fault>,
        read: impl Fn(&mut Fields<'_>, StateForm) -> Misread<T>,
    ) -> Misread<Option<Result<T, Fault>>> {
        let mut fields = Fields::read(line)?;
        match fields.first_of(&["ask", "return", "fail"]) {
            Some(("ask", name)) => {
                let name = text(name)?;
                let asked = match first {
                    Some(fault) => Err(fault.clone()),
                    None => asks::answer(context, &name, &mut fields)?,
                };
                self.write(match &asked {
                    Ok(json) => Written::ok(json),
                    Err(fault) => Written::fault(fault),
                });
                if let Err(fault) = asked {
                    first.get_or_insert(fault);
                }
                Ok(None)
            }
            Some(("return", returned)) => {
                fields.end()?;
                let mut returned = Fields::read(returned.get()).map_err(|why| format!("`return`: {why}"))?;
                let value = read(&mut returned, self.form)?;
                returned.end()?;
                Ok(Some(Ok(value)))
            }
            Some((_, why)) => {
                let why = text(why)?;
                fields.end()?;
                Ok(Some(Err(Fault::failed(why))))
            }
            None => Err("a callback is under way: a line has `ask`, `return` or `fail`".to_owned()),
        }
    }
}

impl Callbacks for Peer {
    fn routes(&self) -> &[RouteSpec] {
        &self.routes
    }

    fn call(&mut self, call: MemberCall, context: &mut CallContext) -> Result<CallOutcome, Fault> {
        let MemberCall { id, topic, assigns, room, callback } = call;
        let line = Written::new("call", callback.name()).with("member", id).with("topic", topic.as_str());
        let line = line.state("room", room.as_deref(), self.form)?;
        if let Callback::Join(params) = &callback {
            return self.exchange(line.payload(params), context, admission);
        }
        let line = line.state("assigns", Some(&assigns), self.form)?;
        let line = match &callback {
            Callback::In { event, payload, reply_ref } => {
                line.with("event", &**event).payload(payload).with("ref", reply_ref.as_deref())
            }
            Callback::Info(message) => line
                .with("source", message.source.as_str())
                .with("from", message.topic.as_str())
                .with("event", &*message.event)
                .payload(&message.payload),
            Callback::Terminate(ending) => line.with("cause", ending.cause()).with("detail", ending.detail()),
            Callback::Join(_) => line,
        };
        self.exchange(line, context, outcome)
    }

    fn call_topic(&mut self, call: TopicCall, context: &mut CallContext) -> Result<CallOutcome, Fault> {
        let TopicCall { topic, room, callback } = call;
        let line = Written::new("call", callback.name()).with("topic", topic.as_str());
        let line = line.state("room", room.as_deref(), self.form)?;
        let line = match &callback {
            TopicCallback::Message { event, payload, .. } => line.with("event", &**event).payload(payload),
            TopicCallback::Info(info) => {
                let fired = info.fired.as_ref();
                line.with("source", info.message.source.as_str())
                    .with("event", &*info.message.event)
                    .with("due_ms", fired.map(|fired| fired.due_ms))
                    .with("key", fired.and_then(|fired| fired.key.as_deref()))
                    .payload(&info.message.payload)
            }
            TopicCallback::Tick(tick) => line
                .with("number", tick.number)
                .with("missed", tick.missed)
                .with("period_ms", u64::try_from(tick.period.as_millis()).unwrap_or(u64::MAX)),
            TopicCallback::Seat { name, change } => line.with("seat", &**name).with("change", change_name(*change)),
        };
        self.exchange(line, context, outcome)
    }

    fn filter(&mut self, passing: Passing, context: &mut CallContext) -> Result<Vec<Decision>, Fault> {
        let mut decisions = Vec::new();
        for recipient in &passing.recipients {
            let line = Written::new("call", "handle_out").with("member", recipient.id);
            let line = line.with("topic", passing.topic.as_str()).with("event", &*passing.event);
            let line = line.payload(&passing.payload).state("assigns", Some(&recipient.assigns), self.form)?;
            decisions.push(self.exchange(line, context, |fields, _| decision(fields))?);
        }
        Ok(decisions)
    }

    fn upgrade(&mut self, upgrade: Upgrade, context: &mut CallContext) -> Result<Option<Bytes>, Fault> {
        let part = match upgrade.part {
            Part::Assigns => "assigns",
            Part::Room => "room",
        };
        let line = Written::new("call", "upgrade").with("topic", upgrade.topic.as_str()).with("part", part);
        let line = line.with("version", upgrade.version).state("state", Some(&upgrade.state), self.form)?;
        self.exchange(line, context, |fields, form| fields.state("state", form))
    }

    fn upgrade_entry(&mut self, upgrade: EntryUpgrade, context: &mut CallContext) -> Result<Option<Vec<u8>>, Fault> {
        let EntryUpgrade { topic, key, version, value } = upgrade;
        let line = Written::new("call", "upgrade_entry").with("topic", topic.as_str());
        let line =
            line.with("key", STANDARD.encode(key)).with("version", version).with("value", STANDARD.encode(value));
        self.exchange(line, context, |fields, _| fields.bytes("value"))
    }
}

/// The result of `join`: `{"refuse": {..}}`, or the member's state and the response.
fn admission(fields: &mut Fields<'_>, form: StateForm) -> Misread<CallOutcome> {
    if let Some(mut refused) = fields.object("refuse")? {
        let response = refused.payload()?;
        refused.end()?;
        return Ok(CallOutcome { assigns: None, room: None, answer: Answer::Refuse(response) });
    }
    let assigns = fields.state("assigns", form)?.ok_or("`assigns` is missing: a member's state")?;
    let (room, response) = (fields.state("room", form)?, fields.payload()?);
    Ok(CallOutcome { assigns: Some(assigns), room, answer: Answer::Admit(response) })
}

/// The result of any other callback: the changed states, and at most one of `reply` and `stop`.
fn outcome(fields: &mut Fields<'_>, form: StateForm) -> Misread<CallOutcome> {
    let (assigns, room) = (fields.state("assigns", form)?, fields.state("room", form)?);
    let reply = |from: &mut Fields<'_>| -> Misread<_> {
        let Some(mut fields) = from.object("reply")? else { return Ok(None) };
        let reply = fields.reply()?;
        fields.end()?;
        Ok(Some(reply))
    };
    let answer = match (reply(fields)?, fields.object("stop")?) {
        (None, None) => Answer::None,
        (Some(reply), None) => Answer::Reply(reply),
        (None, Some(mut stop)) => {
            let stopped = Stop { reason: stop.need("reason")?, reply: reply(&mut stop)? };
            stop.end()?;
            Answer::Stop(stopped)
        }
        (Some(_), Some(_)) => return Err("`reply` belongs into `stop`, where there is one".to_owned()),
    };
    Ok(CallOutcome { assigns, room, answer })
}

/// The result of `handle_out`.
fn decision(fields: &mut Fields<'_>) -> Misread<Decision> {
    let decision: String = fields.need("decision")?;
    match decision.as_str() {
        "pass" => Ok(Decision::Pass),
        "drop" => Ok(Decision::Drop),
        "hand_over" => Ok(Decision::HandOver),
        "replace" => fields.payload().map(Decision::Replace),
        other => Err(format!("no decision is called `{other}`; it is pass, drop, hand_over or replace")),
    }
}

fn change_name(change: SeatChange) -> &'static str {
    match change {
        SeatChange::Taken => "taken",
        SeatChange::Dropped => "dropped",
        SeatChange::Returned => "returned",
        SeatChange::Gone => "gone",
    }
}

fn text(raw: &RawValue) -> Misread<String> {
    match serde_json::from_str(raw.get()) {
        Ok(Value::String(text)) => Ok(text),
        _ => Err(format!("a string is expected, and not {}", raw.get())),
    }
}
