//! The channels of a crate, as code that runs a world's callbacks.

use bennu_semantics::{Callback, Decision, EntryUpgrade, Fault, Passing, RouteSpec, TopicCall, TopicCallback, Upgrade};
use bennu_world::{CallContext, CallOutcome, Callbacks, MemberCall};

use super::recorder::run;
use crate::bindings::bennu::channel::types::{Membership, Route as Described};
use crate::plugin::Route;
use crate::route::find;

/// Channels, each with its route.
#[derive(Default)]
pub(super) struct NativeRoutes {
    routes: Vec<Route>,
    specs: Vec<RouteSpec>,
}

impl NativeRoutes {
    /// A single channel.
    #[track_caller]
    pub(super) fn of(route: Route) -> Self {
        let mut routes = Self::default();
        routes.add(route);
        routes
    }

    /// Adds a channel.
    #[track_caller]
    pub(super) fn add(&mut self, route: Route) {
        self.specs.push(spec(&route));
        self.routes.push(route);
    }

    /// Replaces the channel with the same pattern. Returns whether there is one.
    #[track_caller]
    pub(super) fn replace(&mut self, route: Route) -> bool {
        let new = spec(&route);
        let found = self.specs.iter().position(|old| old.pattern == new.pattern);
        if let Some(at) = found {
            (self.routes[at], self.specs[at]) = (route, new);
        }
        found.is_some()
    }
}

/// A channel's route, as the host reads it.
#[track_caller]
fn spec(route: &Route) -> RouteSpec {
    let Described { pattern, intercepts, assigns_version, room_version, options } = route.describe();
    let options: Vec<_> = options.into_iter().map(|option| (option.name, option.value)).collect();
    RouteSpec::read(&pattern, intercepts, (assigns_version, room_version), &options)
        .unwrap_or_else(|error| panic!("the host refuses this channel: {error}"))
}

impl Callbacks for NativeRoutes {
    fn routes(&self) -> &[RouteSpec] {
        &self.specs
    }

    fn call(&mut self, call: MemberCall, context: &mut CallContext) -> Result<CallOutcome, Fault> {
        let MemberCall { id, topic, assigns, room, callback } = call;
        let route = find(&self.routes, topic.as_str()).map_err(Fault::failed)?;
        let (topic, room) = (topic.to_string(), room.map(Vec::from));
        if let Callback::Join(params) = callback {
            return run(context, || (route.join)(id, topic, params.into(), room).map(CallOutcome::from));
        }
        let member = Membership { id, topic, assigns: assigns.into(), room };
        run(context, || match callback {
            Callback::In { event, payload, reply_ref } => {
                let reply_ref = reply_ref.map(|reference| reference.to_string());
                (route.handle_in)(member, &event, payload.into(), reply_ref).map(CallOutcome::from)
            }
            Callback::Info(message) => (route.handle_info)(member, message.into()).map(CallOutcome::from),
            Callback::Terminate(ending) => {
                (route.terminate)(member, ending.into()).map(|room| CallOutcome::of_room(room.map(Into::into)))
            }
            Callback::Join(_) => Err("a join has no member".to_owned()),
        })
    }

    fn call_topic(&mut self, call: TopicCall, context: &mut CallContext) -> Result<CallOutcome, Fault> {
        let TopicCall { topic, room, callback } = call;
        let route = find(&self.routes, topic.as_str()).map_err(Fault::failed)?;
        let (topic, room) = (topic.to_string(), room.map(Vec::from));
        let of_room = |room: Option<Vec<u8>>| CallOutcome::of_room(room.map(Into::into));
        run(context, || match callback {
            TopicCallback::Message { event, payload, .. } => {
                (route.handle_message)(topic, &event, payload.into(), room).map(CallOutcome::from)
            }
            TopicCallback::Info(info) => (route.handle_topic_info)(topic, info.message.into(), room).map(of_room),
            TopicCallback::Tick(tick) => (route.handle_tick)(topic, &tick.into(), room).map(of_room),
            TopicCallback::Seat { name, change } => (route.handle_seat)(topic, &name, change.into(), room).map(of_room),
        })
    }

    fn filter(&mut self, passing: Passing, context: &mut CallContext) -> Result<Vec<Decision>, Fault> {
        let Passing { topic, event, payload, recipients } = passing;
        let route = find(&self.routes, topic.as_str()).map_err(Fault::failed)?;
        let recipients: Vec<_> = recipients.into_iter().map(Into::into).collect();
        let asked = || (route.handle_out)(topic.as_str(), &event, &payload.into(), &recipients);
        Ok(run(context, asked)?.into_iter().map(Into::into).collect())
    }

    fn upgrade(&mut self, upgrade: Upgrade, context: &mut CallContext) -> Result<Option<bytes::Bytes>, Fault> {
        let Upgrade { topic, part, version, state } = upgrade;
        let route = find(&self.routes, topic.as_str()).map_err(Fault::failed)?;
        // A fault of the host during the upgrade isn't a refusal by the channel.
        let upgraded = run(context, || Ok((route.upgrade)(topic.as_str(), part.into(), version, state.into())))?;
        upgraded.map(|state| Some(state.into())).map_err(|why| Fault::upgrade_refused(&why))
    }

    fn upgrade_entry(&mut self, upgrade: EntryUpgrade, context: &mut CallContext) -> Result<Option<Vec<u8>>, Fault> {
        let EntryUpgrade { topic, key, version, value } = upgrade;
        let route = find(&self.routes, topic.as_str()).map_err(Fault::failed)?;
        let upgraded = run(context, || Ok((route.upgrade_entry)(topic.as_str(), &key, version, value.into())))?;
        upgraded.map(Some).map_err(|why| Fault::entry_refused(&key, version, &why))
    }
}
