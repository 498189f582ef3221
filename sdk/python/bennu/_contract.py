"""The contract's imports: in a component the host's functions, in a test those of `bennu kit`."""

from typing import Any


class Interface:
    """The functions of one interface. The component, or the test kit, sets them."""

    def __init__(self, name: str) -> None:
        self._interface = name

    def __getattr__(self, function: str) -> Any:
        raise RuntimeError(f"`{self._interface}.{function}` can only be used in a callback")


host = Interface("host")
member = Interface("member")
socket = Interface("socket")
droppable = Interface("droppable")
presence = Interface("presence")
topics = Interface("topics")
token = Interface("token")
store = Interface("store")
entries = Interface("entries")
schedule = Interface("schedule")
http = Interface("http")
request = Interface("request")

#: The types of the contract, such as `Outcome`, and `Err`, which is raised for its errors.
types = Interface("types")

#: All interfaces of functions, by their names.
INTERFACES = {
    "host": host,
    "member": member,
    "socket": socket,
    "droppable": droppable,
    "presence": presence,
    "topics": topics,
    "token": token,
    "store": store,
    "entries": entries,
    "schedule": schedule,
    "http": http,
    "request": request,
}
