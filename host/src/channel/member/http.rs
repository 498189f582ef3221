//! Requests by HTTP that a member's callback asked for as effects.

use std::sync::Arc;

use bytestring::ByteString;

use super::channel::Channel;
use super::event::MemberEvent;
use crate::contract::{Asker, HttpFailure, HttpRequest, HttpResult, Message, Source, http_payload};
use crate::counts::Limit;

/// Sends a request in a task of its own. The member's `handle_info` gets the answer, if the member is still there.
pub(in crate::channel::member) fn send_request(channel: &Arc<Channel>, key: ByteString, request: Box<HttpRequest>) {
    let services = channel.services();
    // The plugin whose turn it is: it serves the topic.
    let Some(plugin) = channel.route(None).map(|route| Arc::clone(&route.plugin)) else { return };
    let Some(under_way) = services.http.begin(Asker::Member(channel.member.id)) else {
        Limit::HttpRequestsPerMember.hit();
        let detail = "too many requests of the member are under way".into();
        return answer(channel, &key, &Err(HttpFailure { kind: "busy".into(), detail }));
    };
    let (http, id) = (Arc::clone(&services.http), services.store.unique_id());
    let channel = Arc::downgrade(channel);
    tokio::spawn(async move {
        let result = http.request(&plugin, &request, &id).await;
        drop(under_way);
        if let Some(channel) = channel.upgrade() {
            answer(&channel, &key, &result);
        }
    });
}

/// Posts an answer to the member. If the member's queue has no room for it, the member gets a failure instead: a server must not
/// be able to end a member.
fn answer(channel: &Arc<Channel>, key: &ByteString, result: &HttpResult) {
    let event = |result: &HttpResult| {
        let (topic, event) = (channel.member.topic.clone(), key.clone());
        MemberEvent::Info(Message { source: Source::Http, topic, event, payload: http_payload(result) })
    };
    let whole = event(result);
    if channel.has_room(1, whole.bytes()) {
        return channel.post(whole);
    }
    Limit::HttpAnswerQueue.hit();
    let detail = "the member's queue has no room for the answer".into();
    channel.post(event(&Err(HttpFailure { kind: "too-large".into(), detail })));
}
