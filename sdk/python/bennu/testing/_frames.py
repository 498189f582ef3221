"""Binary frames of a server, as `bennu docs protocol` describes them."""

from typing import Any

#: A frame: `[join_ref, ref, topic, event, payload]`.
Frame = list[Any]

#: The kinds of frames that a server sends.
_PUSH, _REPLY, _BROADCAST = 0, 1, 2


def frame_of(data: bytes) -> Frame:
    """Returns a frame, whose payload is bytes."""
    kind = data[0]
    count = {_PUSH: 3, _REPLY: 4, _BROADCAST: 2}[kind]
    texts, at = [], 1 + count
    for length in data[1 : 1 + count]:
        texts.append(data[at : at + length].decode())
        at += length
    payload = data[at:]
    if kind == _REPLY:
        join_ref, ref, topic, status = texts
        return [join_ref, ref, topic, "phx_reply", {"status": status, "response": payload}]
    if kind == _BROADCAST:
        return [None, None, *texts, payload]
    join_ref, topic, event = texts
    return [join_ref, None, topic, event, payload]
