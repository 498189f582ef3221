"""A member of a room, with the library phxsocket: `phxsocket_client.py URL TOPIC PARAMS`."""

import json
import sys

import phxsocket

from lines import orders, say


def main(url, topic, params):
    socket = phxsocket.Client(f"{url}/websocket")
    socket.connect()
    room = socket.channel(topic, json.loads(params))
    room.on_message = lambda _, event, payload: say("event", event, payload)
    say("joined", room.join())
    for order in orders():
        match order:
            case ["push", event, payload]:
                say("reply", room.push(event, payload, reply=True).wait_for_response())
            case ["send", event, payload]:
                room.push(event, payload)
    socket.close()


main(*sys.argv[1:])
