//! The topics that a plugin may act upon and read about: those of its own routes, and those that its configuration
//! grants.

use crate::{Effect, Fault, Pattern};

/// What a plugin must be granted for an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant<'a> {
    /// Nothing: the effect concerns its own member and topic.
    Own,
    /// To act upon this topic. The text says what the plugin does, for the fault.
    Reach(&'static str, &'a str),
    /// To read about this topic.
    Read(&'a str),
    /// To schedule messages to this topic, or to read its schedules: only the plugin's own topics.
    Schedule(&'a str),
    /// To disconnect this socket id. The member's own id is always allowed.
    Disconnect(&'a str),
}

/// What a plugin may reach.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    /// The plugin's name, for the key that grants more.
    pub plugin: &'a str,
    /// The topics of its own routes.
    pub own: &'a [Pattern],
    /// The topics that it is granted to publish and send to, and the ids that it may disconnect.
    pub publish: &'a [Pattern],
    /// The topics that it is granted to subscribe to and read about.
    pub read: &'a [Pattern],
}

impl Reach<'_> {
    /// Checks that the plugin has the grant for an effect. `own_id` is the socket id of the call's member.
    ///
    /// # Errors
    /// Fault: failed. It says which key grants the effect.
    pub fn check(&self, effect: &Effect, own_id: Option<&str>) -> Result<(), Fault> {
        match effect.grant() {
            Grant::Own => Ok(()),
            Grant::Reach(doing, topic) => self.check_reachable(doing, topic),
            Grant::Read(topic) => self.check_readable(topic),
            Grant::Schedule(topic) => self.check_schedulable(topic),
            Grant::Disconnect(id) if own_id == Some(id) => Ok(()),
            Grant::Disconnect(id) => self.check_reachable("disconnecting", id),
        }
    }

    /// Checks that the plugin may act upon a topic, or upon a socket's id. `doing` says what it does.
    fn check_reachable(&self, doing: &str, topic: &str) -> Result<(), Fault> {
        if self.own.iter().chain(self.publish).any(|pattern| pattern.matches(topic)) {
            return Ok(());
        }
        let name = self.plugin;
        Err(Fault::failed(format!("{doing} `{topic}` isn't granted; add it to `plugins.{name}.publish`")))
    }

    /// Checks that the plugin may schedule messages to a topic. A schedule belongs to the plugin that serves its topic, so no
    /// configuration grants another plugin's topic.
    ///
    /// # Errors
    /// Fault: failed.
    pub fn check_schedulable(&self, topic: &str) -> Result<(), Fault> {
        if self.own.iter().any(|pattern| pattern.matches(topic)) {
            return Ok(());
        }
        Err(Fault::failed(format!(
            "the plugin has no route for `{topic}`, and a plugin schedules only for its own topics; send from there to another plugin's topic"
        )))
    }

    /// Checks that the plugin may subscribe to a topic and read about it.
    ///
    /// # Errors
    /// Fault: failed.
    pub fn check_readable(&self, topic: &str) -> Result<(), Fault> {
        if self.own.iter().chain(self.read).any(|pattern| pattern.matches(topic)) {
            return Ok(());
        }
        Err(self.unreadable(topic))
    }

    /// Checks that the plugin may read about every topic with a prefix.
    ///
    /// # Errors
    /// Fault: failed.
    pub fn check_readable_under(&self, prefix: &str) -> Result<(), Fault> {
        if self.own.iter().chain(self.read).any(|pattern| pattern.matches_all(prefix)) {
            return Ok(());
        }
        Err(self.unreadable(&format!("{prefix}*")))
    }

    fn unreadable(&self, topic: &str) -> Fault {
        let name = self.plugin;
        Fault::failed(format!("reading `{topic}` isn't granted; add it to `plugins.{name}.read`"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Payload;

    #[test]
    fn a_plugin_reaches_its_own_topics_and_those_that_are_granted() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).unwrap()).collect::<Vec<_>>();
        let (own, publish, read) = (patterns(&["room:*"]), patterns(&["news"]), patterns(&["lobby", "log:*"]));
        let reach = Reach { plugin: "chat", own: &own, publish: &publish, read: &read };
        let publish = |topic: &str| {
            let effect = Effect::Publish { topic: topic.into(), event: "e".into(), payload: Payload::EMPTY };
            reach.check(&effect, None)
        };
        assert!(publish("room:1").is_ok() && publish("news").is_ok());
        let fault = publish("lobby").unwrap_err();
        assert_eq!(fault.detail, "publishing to `lobby` isn't granted; add it to `plugins.chat.publish`");
        assert!(reach.check_readable("lobby").is_ok() && reach.check_readable("log:1").is_ok());
        let fault = reach.check_readable("news").unwrap_err();
        assert_eq!(fault.detail, "reading `news` isn't granted; add it to `plugins.chat.read`");
        let disconnect = Effect::Disconnect { socket_id: "user:1".into() };
        assert!(reach.check(&disconnect, Some("user:1")).is_ok());
        let fault = reach.check(&disconnect, Some("user:2")).unwrap_err();
        assert_eq!(fault.detail, "disconnecting `user:1` isn't granted; add it to `plugins.chat.publish`");
        assert!(reach.check(&Effect::Subscribe { topic: "lobby".into() }, None).is_ok());
        assert!(reach.check(&Effect::Subscribe { topic: "news".into() }, None).is_err());
        assert!(reach.check(&Effect::LeaveSeat, None).is_ok());
        let cancel = |topic: &str| Effect::CancelSchedule { topic: topic.into(), key: "k".into() };
        assert!(reach.check(&cancel("room:1"), None).is_ok());
        let fault = reach.check(&cancel("news"), None).unwrap_err();
        assert!(fault.detail.starts_with("the plugin has no route for `news`"), "{fault}");
        // An exact pattern grants one topic. A prefix grants only the topics that start with the whole prefix.
        assert!(reach.check_readable_under("log:1").is_ok() && reach.check_readable_under("room:").is_ok());
        assert!(reach.check_readable_under("lobby").is_err() && reach.check_readable_under("log").is_err());
    }
}
