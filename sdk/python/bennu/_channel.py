"""Channels: classes whose fields are a member's state, and whose methods are callbacks."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeVar, dataclass_transform

from ._payload import NAMED

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])

#: The event whose handler gets all events that have none of their own.
ALL = "*"


class Refusal(Exception):
    """A client's mistake. It becomes an `error` reply, and nothing else of the callback happens."""

    def __init__(self, response: Any) -> None:
        super().__init__(str(response))
        self.response = response


def refuse(reason: Any) -> NoReturn:
    """Ends the callback with an `error` reply. A text becomes `{"reason": text}`.

    Nothing else of the callback happens: the state and the room stay as they were, and effects and writes that the callback has asked
    for before are discarded.
    """
    raise Refusal({"reason": reason} if isinstance(reason, str) else reason)


@dataclass(frozen=True)
class Reply:
    """A reply with a status of its own."""

    status: str
    response: Any


def reply(status: str, response: Any = NAMED) -> Reply:
    """Return it from a callback for a reply with another status than `ok`, or with the response null. Unlike after `refuse`, the state
    and the room change, and effects happen."""
    return Reply(status, {} if response is NAMED else response)


@dataclass(frozen=True)
class Stop:
    """The end of a membership."""

    reason: str
    response: Any


def stop(reason: str, response: Any = None) -> Stop:
    """Return it from a callback to end the membership.

    The client gets the response first, and then `phx_close`. The response can be a `reply` with a status of its own. Without a
    response, the client gets no reply. The client doesn't get the reason.
    """
    return Stop(reason, response)


class _Decision:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: What a method of `intercept` may return, besides another payload: the recipient doesn't get the event.
drop = _Decision("drop")

#: What a method of `intercept` may return: the recipient's own `info` gets the event.
hand_over = _Decision("hand_over")


@dataclass(slots=True)
class Message:
    """Where a message comes from."""

    event: str
    #: `client`: the member's client. `self`: this member or one of its timers. `member`: another callback, by `send_member`, or a
    #: program by the API. `topic`: a topic that the member subscribes to. `answer`: the answer to a `send`, whose payload has `status`
    #: and `response`. `intercept`: an event that `intercept` handed over. `http`: the answer to a request. `schedule`, `cron`,
    #: `start`: what the host tells a topic. Later hosts may add sources, so ignore those that you don't know.
    source: str
    #: The topic of the message: the member's own one, or the other one. For `member`, it is the topic of the sender.
    topic: str
    #: When a schedule or a cron line was due, in milliseconds since 1970.
    due: int | None = None
    #: The key of a schedule.
    key: str | None = None


@dataclass(slots=True)
class Tick:
    """One tick."""

    #: The number of the tick since `tick` set the period, with skipped ticks. So the number times the period is the passed time.
    number: int
    #: How many ticks were skipped since the last call, because the topic was busy. Move a world by `missed + 1` periods.
    missed: int
    period_ms: int


@dataclass(slots=True)
class Recipient:
    """A member that is about to get an event."""

    id: int
    topic: str


def _handles(table: str, events: tuple[str, ...]) -> Callable[[Any], Any]:
    if not events or not all(isinstance(event, str) for event in events):
        raise TypeError(f'`@{table}` needs the names of events, such as `@{table}("new_msg")`')

    def mark(method: Any) -> Any:
        function = method.__func__ if isinstance(method, staticmethod) else method
        known = function.__dict__.setdefault("_bennu_events", [])
        known.extend((table, event) for event in events)
        return method

    return mark


def on(*events: str) -> Callable[[F], F]:
    """A method that handles messages of the client: `def say(self, socket, body: str)`.

    Its parameters are fields of the payload, checked by their annotations. What it returns is the response of an `ok` reply; without
    a result, there is no reply. A client that sends an unknown event gets an `error`.
    """
    return _handles("on", events)


def info(*events: str) -> Callable[[F], F]:
    """A method that handles messages that no client sent: timers, other topics, answers. Nobody waits for a result."""
    return _handles("info", events)


def intercept(*events: str) -> Callable[[F], F]:
    """A method that decides about an event for each recipient: `def only_loud(self, recipient, body: str)`.

    `self` is the state of the recipient, as it was last committed. It returns another payload, `drop`, `hand_over`, or nothing to
    pass the event on. It only reads.
    """
    return _handles("intercept", events)


def message(*events: str) -> Callable[[Callable[..., Any]], staticmethod]:
    """A static method that handles messages to the topic, from the API or another topic: `def notify(topic, text: str)`. It returns
    the answer. There is no member."""
    return lambda function: _static(_handles("message", events)(function))


def topic_info(*events: str) -> Callable[[Callable[..., Any]], staticmethod]:
    """A static method that handles what the host tells the topic: schedules, cron lines, answers by HTTP, starts. `topic.message` has
    the source."""
    return lambda function: _static(_handles("topic_info", events)(function))


def _static(method: Any) -> staticmethod:
    return method if isinstance(method, staticmethod) else staticmethod(method)


#: The callbacks that are found by their names, and whether they have no member.
CALLBACKS = {"join": False, "leave": False, "tick": True, "seat": True, "upgrade": True, "upgrade_room": True, "upgrade_entry": True}

TABLES = ("on", "info", "message", "topic_info", "intercept")


@dataclass
class Route:
    """A channel as the contract sees it."""

    cls: Any
    patterns: tuple[str, ...]
    room: Any
    version: int
    room_version: int
    options: list[tuple[str, str]]
    #: The names of the methods that handle events, by the kind of the message.
    tables: dict[str, dict[str, str]]


def _check_state(cls: Any, what: str) -> None:
    """A first state is made without arguments, and a state of an older build may lack any field."""
    for field in dataclasses.fields(cls):
        if field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise TypeError(f"{cls.__name__}.{field.name} needs a default: {what} begins with the defaults of its fields")


def _tables_of(cls: Any) -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = {table: {} for table in TABLES}
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        is_static = isinstance(method, staticmethod)
        function = method.__func__ if is_static else method
        if CALLBACKS.get(name) and not is_static:
            raise TypeError(f"{cls.__name__}.{name} needs `@staticmethod`: it has no member, and so no `self`")
        events = getattr(function, "_bennu_events", ()) if inspect.isfunction(function) else ()
        if (events or name in CALLBACKS) and inspect.iscoroutinefunction(function):
            raise TypeError(f"{cls.__name__}.{name} can't be async, because a callback is a transaction")
        for table, event in events:
            if event in tables[table]:
                raise TypeError(f"{cls.__name__} has two methods for the event `{event}`: {tables[table][event]} and {name}")
            tables[table][event] = name
    if ALL in tables["intercept"]:
        raise TypeError(f"{cls.__name__}: an intercept needs the names of events, and not `{ALL}`")
    return tables


@dataclass_transform()
def channel(
    *patterns: str,
    room: type | None = None,
    durable: bool = False,
    turns: Literal["member", "topic"] | None = None,
    on_fault: Literal["end", "keep"] | None = None,
    linger_ms: int | None = None,
    tick_faults: int | None = None,
    history: int | None = None,
    history_ms: int | None = None,
    publishes: tuple[str, ...] | list[str] = (),
    start_topics: tuple[str, ...] | list[str] = (),
    version: int = 0,
    room_version: int = 0,
    entries_version: int | None = None,
) -> Callable[[C], C]:
    """Makes a class the channel of topics, such as `@channel("room:*")`. The class becomes a dataclass, whose fields are a member's state.

    - `room`: a dataclass, the state that all members of a topic share. A channel that has it has a room.
    - `durable`: the room and its entries are stored, and survive a restart of the host.
    - `turns`: with `topic`, the callbacks of all members of a topic run one after another. A room implies it.
    - `on_fault`: with `keep`, a member stays after a fault, with the state from before.
    - `linger_ms`: how long a room remains after its last member has ended: 10,000 by default, at most a day.
    - `tick_faults`: after so many faults of `tick` in a row, the members end: 10 by default. 0 means never.
    - `history`, `history_ms`: how many of the topic's last broadcasts the host keeps for clients that join again, and for how long.
    - `publishes`: prefixes of entries that all members get, as `room_state` and `room_diff`. At most 16.
    - `start_topics`: topics whose `topic_info` gets the event `start` each time a generation of the plugin begins to serve.
    - `version`, `room_version`, `entries_version`: the versions of the states, for `upgrade`, `upgrade_room` and `upgrade_entry`.
    """
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError('`@channel` needs topics or prefixes, such as `@channel("room:*")`')
    kind = None if room is None else "durable" if durable else "memory"
    if durable and room is None:
        raise TypeError("`durable` is for a channel with a `room`")
    options = [
        ("room", kind), ("turns", turns), ("on-fault", on_fault), ("linger-ms", linger_ms), ("tick-faults", tick_faults),
        ("entries-version", entries_version), ("history-count", history), ("history-ms", history_ms),
        *(("publishes", prefix) for prefix in publishes), *(("start-topics", topic) for topic in start_topics),
    ]  # fmt: skip

    def make(cls: C) -> C:
        if "__dataclass_fields__" not in vars(cls):
            cls = dataclass(cls)  # type: ignore[assignment]
        _check_state(cls, "a member's state")
        if room is not None:
            if not dataclasses.is_dataclass(room):
                raise TypeError(f"the room {room.__name__} must be a dataclass: write `@dataclass` above it")
            _check_state(room, "a room")
        given = [(name, str(value)) for name, value in options if value is not None]
        cls._bennu_route = Route(cls, patterns, room, version, room_version, given, _tables_of(cls))  # type: ignore[attr-defined]
        return cls

    return make


def channels_of(source: Any) -> list[Any]:
    """The channels that a module has: those that it defines or imports."""
    found = [it for it in vars(source).values() if isinstance(it, type) and "_bennu_route" in vars(it)]
    return list(dict.fromkeys(found))
