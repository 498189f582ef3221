//! Requests by HTTP that a topic's callbacks asked for as effects, and their answers.

use std::sync::Arc;

use bytestring::ByteString;

use super::info::AnswerJob;
use super::job::{TopicEvent, post_and_spawn};
use super::topics::{TopicTurns, Topics};
use crate::contract::{Asker, HttpFailure, HttpRequest, HttpResult, UnderWay, http_payload};
use crate::counts::Limit;
use crate::protocol::Topic;

/// Sends a request in a task of its own. The topic's `handle_topic_info` gets the answer.
pub(in crate::channel) fn send_topic_request(turns: &Arc<TopicTurns>, event: ByteString, request: Box<HttpRequest>) {
    let (topics, topic, services) = (&turns.topics, turns.name.clone(), turns.services());
    // The plugin whose turn it is: it serves the topic.
    let Some(plugin) = services.routes.find(topic.as_str()).map(|route| Arc::clone(&route.plugin)) else { return };
    let Some(under_way) = services.http.begin(Asker::Topic(topic.clone())) else {
        Limit::HttpRequestsPerTopic.hit();
        let detail = "too many requests of the topic are under way".into();
        let busy = Err(HttpFailure { kind: "busy".into(), detail });
        return post(topics, &topic, waiting(topics, plugin, event, &busy, None));
    };
    let (http, id) = (Arc::clone(&services.http), services.store.unique_id());
    let topics = Arc::downgrade(topics);
    tokio::spawn(async move {
        let result = http.request(&plugin, &request, &id).await;
        if let Some(topics) = topics.upgrade() {
            let answer = waiting(&topics, plugin, event, &result, Some(under_way));
            post(&topics, &topic, answer);
        }
    });
}

/// Counts an answer for the plugin. If its bytes have no room, the topic gets a failure instead, whose number the limit of the topic
/// bounds.
fn waiting(
    topics: &Topics,
    plugin: Arc<str>,
    event: ByteString,
    result: &HttpResult,
    under_way: Option<UnderWay>,
) -> AnswerJob {
    let payload = http_payload(result);
    let in_flight = topics.in_flight.of(&plugin).add(event.len() + payload.len());
    let payload = if in_flight.is_some() {
        payload
    } else {
        Limit::HttpAnswerQueue.hit();
        let detail = "the queues of the plugin's topics have no room for the answer".into();
        http_payload(&Err(HttpFailure { kind: "too-large".into(), detail }))
    };
    AnswerJob { plugin, event, payload, under_way, in_flight }
}

fn post(topics: &Arc<Topics>, topic: &Topic, answer: AnswerJob) {
    if answer.under_way.is_none() && answer.in_flight.is_none() {
        // A callback that asks again for each answer could otherwise fill the memory.
        let (topic, key) = (topic.as_str(), &*answer.event);
        return tracing::warn!(topic, key, "a request by HTTP wasn't sent, and too many messages wait to say so");
    }
    post_and_spawn(&topics.of(topic), TopicEvent::Answer(Box::new(answer)));
}
