"""Handlers for the same events of members and of topic messages."""

from collections.abc import Callable
from typing import Any

from bennu import Payload, message, on

#: Gets the payload, and the socket or the topic.
Handler = Callable[[Any, Any], Any]


def for_members(handlers: dict[str, Handler]) -> type:
    """A base class that handles these events of members."""

    def method(handler: Handler) -> Any:
        def handle(self, socket, payload: Payload):
            return handler(payload, socket)

        return handle

    return type("ForMembers", (), {f"on_{event}": on(event)(method(handler)) for event, handler in handlers.items()})


def for_messages(handlers: dict[str, Handler]) -> type:
    """A base class that handles these events of topic messages."""

    def function(handler: Handler) -> Any:
        def handle(topic, payload: Payload):
            return handler(payload, topic)

        return handle

    return type("ForMessages", (), {f"message_{event}": message(event)(function(handler)) for event, handler in handlers.items()})
