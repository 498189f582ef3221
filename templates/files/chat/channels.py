from bennu import Socket, channel, now, on


@channel("room:*")
class Chat:
    # A member's own state. The host keeps it between calls, and across reloads.
    user: str = ""

    def join(self, socket: Socket, user: str):
        self.user = user
        socket.broadcast_from("joined", user=user)
        socket.push_presences()
        socket.track(user, online_at=now())

    @on("new_msg")
    def say(self, socket: Socket, body: str):
        socket.broadcast("new_msg", user=self.user, body=body)
        return {}

    def leave(self, socket: Socket):
        socket.broadcast("left", user=self.user)
