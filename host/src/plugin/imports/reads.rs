//! Imports that read: from the host, the member, other topics, and tokens.

use std::sync::Arc;

use wasmtime::Result;

use super::super::bindings::bennu::channel::host::{self, Level, StandardStream};
use super::super::bindings::bennu::channel::token::Problem;
use super::super::bindings::bennu::channel::topics::{Person, Topic};
use super::super::bindings::bennu::channel::{member, token, topics};
use super::super::guest::{Guest, Subject};
use super::waited;
use crate::contract::limits::LISTED_MAX;
use crate::contract::{Effect, Fault, Member, TokenProblem, one_line};

impl host::Host for Guest {
    fn now(&mut self) -> Result<u64> {
        Ok(Self::now_ms(self))
    }

    fn unique_id(&mut self) -> Result<String> {
        self.check_evaluated()?;
        Ok(self.context.surroundings.unique_id())
    }

    fn random(&mut self) -> Result<u64> {
        Ok(self.random_number()?)
    }

    fn configuration(&mut self) -> Result<String> {
        Ok(self.context.origin.configuration.to_string())
    }

    fn log(&mut self, level: Level, message: String) -> Result<()> {
        self.count_line()?;
        self.log_line(level, one_line(message));
        Ok(())
    }

    fn print(&mut self, to: StandardStream, text: Vec<u8>) -> Result<()> {
        Ok(Guest::print(self, to, &text)?)
    }

    fn exit(&mut self, status: u32) -> Result<()> {
        Err(Fault::exited(status).into())
    }
}

impl Guest {
    fn member(&self) -> Result<&Arc<Member>> {
        match &self.subject {
            Subject::Member(member) => Ok(member),
            _ => Err(Fault::no_member().into()),
        }
    }
}

impl member::Host for Guest {
    fn socket_id(&mut self) -> Result<Option<String>> {
        Ok(self.member()?.socket.identity.socket_id.as_deref().map(str::to_owned))
    }

    fn user(&mut self) -> Result<Option<String>> {
        Ok(self.member()?.socket.identity.user.as_deref().map(str::to_owned))
    }

    fn claims(&mut self) -> Result<String> {
        Ok(self.member()?.socket.identity.claims.to_string())
    }

    fn join_ref(&mut self) -> Result<String> {
        Ok(self.member()?.join_ref.json().to_owned())
    }

    fn transport(&mut self) -> Result<String> {
        Ok(self.member()?.socket.transport.to_owned())
    }

    fn connect_params(&mut self) -> Result<String> {
        Ok(self.member()?.socket.connect_params.to_string())
    }

    fn x_headers(&mut self) -> Result<Vec<(String, String)>> {
        let headers = self.member()?.socket.x_headers.iter();
        Ok(headers.map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }
}

fn most(limit: u32) -> usize {
    limit.min(LISTED_MAX) as usize
}

impl topics::Host for Guest {
    fn count(&mut self, topic: String) -> Result<u32> {
        self.reach()?.check_readable(&topic)?;
        Ok(u32::try_from(self.context.surroundings.count(&topic)).unwrap_or(u32::MAX))
    }

    async fn members(&mut self, topic: String, limit: u32) -> Result<Vec<Person>> {
        self.reach()?.check_readable(&topic)?;
        let (surroundings, most) = (Arc::clone(&self.context.surroundings), most(limit));
        let mut people = surroundings.members(&topic, most);
        if people.len() < most
            && let Some(elsewhere) = surroundings.members_elsewhere(&topic, most)
        {
            let (elsewhere, has_waited) = waited(elsewhere).await;
            self.has_waited |= has_waited;
            people.extend(elsewhere);
            people.truncate(most);
        }
        Ok(people.into_iter().map(Person::from).collect())
    }

    fn answer_ref(&mut self) -> Result<Option<String>> {
        let Subject::Message(answer_ref) = self.subject else { return Ok(None) };
        self.record.ask(Effect::AnswerLater)?;
        Ok(Some(answer_ref.to_string()))
    }

    fn under(&mut self, prefix: String, after: Option<String>, limit: u32) -> Result<Vec<Topic>> {
        self.reach()?.check_readable_under(&prefix)?;
        let found = self.context.surroundings.topics(&prefix, after.as_deref(), most(limit));
        let count = |members| u32::try_from(members).unwrap_or(u32::MAX);
        Ok(found.into_iter().map(|(name, members)| Topic { name: name.to_string(), members: count(members) }).collect())
    }
}

impl token::Host for Guest {
    fn sign(&mut self, salt: String, value: String, max_age: Option<u64>) -> Result<String> {
        self.check_evaluated()?;
        Ok(self.context.surroundings.sign(&salt, &value, max_age)?)
    }

    fn verify(&mut self, salt: String, token: String, max_age: Option<u64>) -> Result<Result<String, Problem>> {
        self.check_evaluated()?;
        let verified = self.context.surroundings.verify(&salt, &token, max_age)?;
        Ok(verified.map_err(|problem| match problem {
            TokenProblem::Missing => Problem::Missing,
            TokenProblem::Invalid => Problem::Invalid,
            TokenProblem::Expired => Problem::Expired,
        }))
    }
}
