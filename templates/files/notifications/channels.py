from bennu import Socket, Topic, channel, message, now, on, refuse, store, unique_id


# Each user has a topic, such as `inbox:ada`.
@channel("inbox:*")
class Inbox:
    def join(self, socket: Socket):
        # With tokens, let only the owner in: if socket.topic != f"inbox:{socket.user}": refuse("not yours")
        return {"unread": [note for _, note in store.list(f"{socket.topic}/")]}

    # All windows of the user drop a note that was read in one of them.
    @on("read")
    def read(self, socket: Socket, id: str):
        store.delete(f"{socket.topic}/{id}")
        socket.broadcast("read", id=id)
        return {}

    @on("tell")
    def tell(self, socket: Socket, user: str, text: str):
        socket.send(f"inbox:{user}", "notify", text=text)
        return {}

    # Messages to the topic, also from other programs: bennu send inbox:ada notify '{"text": "hi"}'
    @message("notify")
    def notify(topic: Topic, text: str):
        if "/" in topic.topic:
            refuse("an inbox has no / in its name")
        note = {"id": unique_id(), "text": text, "at": now()}
        store.put(f"{topic.topic}/{note['id']}", note)
        topic.broadcast("notified", note)
        return {"id": note["id"]}
