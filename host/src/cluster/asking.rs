//! What a host asks the others, as sums of their answers.

use super::messages::{NodeAnswer, NodeQuestion};
use super::peers::{ACT_WAIT, MEMBERS_WAIT, Peers};
use super::questions::Answers;
use crate::contract::Person;
use crate::protocol::Topic;

/// How many nodes were asked, this one among them, and how many of them answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// All living nodes.
    pub asked: usize,
    /// The nodes that the result includes.
    pub answered: usize,
}

impl Coverage {
    fn of(answers: &Answers, useful: usize) -> Self {
        // This node has always answered.
        Self { asked: answers.asked + 1, answered: useful + 1 }
    }
}

/// The result of an act at the other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acted {
    /// The sum of the numbers of members or sockets at the other nodes.
    pub count: usize,
    /// Which nodes it includes. A node that had no room for it isn't included.
    pub coverage: Coverage,
    /// Whether a node had no room for it.
    pub is_busy: bool,
}

/// The members of a topic at the other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersElsewhere {
    /// Their number.
    pub count: usize,
    /// Some of them.
    pub people: Vec<Person>,
    /// Which nodes they are from.
    pub coverage: Coverage,
}

impl Peers {
    /// Has all other nodes do something for their members or sockets. Waits for their answers for at most a second.
    pub async fn act(&self, question: NodeQuestion) -> Acted {
        let answers = self.ask(question, ACT_WAIT).await;
        let counts = answers.given.iter().filter_map(|(_, answer)| match answer {
            NodeAnswer::Count(count) => Some(usize::try_from(*count).unwrap_or(usize::MAX)),
            _ => None,
        });
        let (count, useful) = counts.fold((0usize, 0), |(sum, nodes), count| (sum.saturating_add(count), nodes + 1));
        let is_busy = answers.given.iter().any(|(_, answer)| *answer == NodeAnswer::Busy);
        Acted { count, coverage: Coverage::of(&answers, useful), is_busy }
    }

    /// The members of a topic at the other nodes, at most `most` of each. Waits for at most a quarter of a second.
    pub async fn members(&self, topic: &str, most: usize) -> MembersElsewhere {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let answers = self.ask(NodeQuestion::Members(Topic::new(topic), most), MEMBERS_WAIT).await;
        let (mut count, mut people, mut useful) = (0usize, Vec::new(), 0);
        for (_, answer) in &answers.given {
            if let NodeAnswer::Members(members, some) = answer {
                count = count.saturating_add(usize::try_from(*members).unwrap_or(usize::MAX));
                people.extend_from_slice(some);
                useful += 1;
            }
        }
        MembersElsewhere { count, people, coverage: Coverage::of(&answers, useful) }
    }

    /// What `GET /api/inspect` says at the other nodes: the name of each node that answered within a second, and its JSON.
    pub async fn inspect(&self) -> (Vec<(String, bytes::Bytes)>, Coverage) {
        let answers = self.ask(NodeQuestion::Inspect, ACT_WAIT).await;
        let nodes = self.link().nodes();
        let name = |epoch| nodes.iter().find(|node| node.row.id.epoch == epoch).map(|node| node.row.name.clone());
        let given = answers.given.iter().filter_map(|(epoch, answer)| match answer {
            NodeAnswer::Json(text) => Some((name(*epoch)?, text.clone())),
            _ => None,
        });
        let given: Vec<_> = given.collect();
        let coverage = Coverage::of(&answers, given.len());
        (given, coverage)
    }
}
