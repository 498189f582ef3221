"""A client with Supabase's Python library realtime: `realtime_client.py URL NAME KEY`."""

import asyncio
import json
import sys

from realtime import AsyncRealtimeClient

from lines import say


async def main(url, name, key):
    client = AsyncRealtimeClient(url, token="none", auto_reconnect=False)
    config = {"broadcast": {"ack": False, "self": False}, "presence": {"key": key, "enabled": True}, "private": False}
    channel = client.channel(name, {"config": config})
    channel.on_broadcast("cursor", lambda message: say("broadcast", message))
    channel.on_presence_sync(lambda: say("presence", channel.presence_state()))
    await channel.subscribe(lambda state, error: say("state", state, error and str(error)))
    while line := await asyncio.to_thread(sys.stdin.readline):
        match json.loads(line):
            case ["track", meta]:
                await channel.track(meta)
            case ["untrack"]:
                await channel.untrack()
            case ["broadcast", event, payload]:
                await channel.send_broadcast(event, payload)
    await client.close()


asyncio.run(main(*sys.argv[1:]))
