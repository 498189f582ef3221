// The largest legal messages, and the memory of an instance after many calls, in Go and Python. The tests in Rust have the same for Rust and
// TypeScript.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, join } from "../phoenix/client.mjs";
import { newProject } from "../project.mjs";
import { bound, rounds } from "../rounds.mjs";

/** The maximum size of a message is 1 MiB, with its topic and its event. */
const BYTES = (1 << 20) - 100;

/** The default of `call_cpu_ms`. */
const DEFAULT_MS = 2000;

const many = (item) => ({ all: Array(Math.floor(BYTES / (Buffer.byteLength(JSON.stringify(item)) + 1)) - 1).fill(item) });

/** Payloads of about the maximum size that cost a JSON parser differently much. */
const PAYLOADS = {
  "one text": { text: "x".repeat(BYTES - 20) },
  numbers: many(7),
  fractions: many(0.1234567),
  "empty objects": many({}),
  "nested arrays": many([[[[1]]]]),
  keys: Object.fromEntries(Array.from({ length: 95_000 }, (_, key) => [`k${key}`, 1])),
  objects: many({ id: 1, name: "ada", at: [0.5, null, true] }),
  escapes: many("\n\u{e9}\u{1f600}"),
};

const GO = `package main

import "bennu.dev/bennu"

type Echo struct{ Count int }

type Socket = bennu.Socket[bennu.None]

func init() { bennu.Serve[Echo, bennu.None]("bench:*") }

func (*Echo) Join(*Socket, bennu.Payload) (any, error) { return nil, nil }

func (e *Echo) HandleIn(_ *Socket, event string, payload bennu.Payload) (any, error) {
	if event == "count" {
		e.Count++
		return bennu.M{"count": e.Count}, nil
	}
	var value any
	err := payload.Into(&value)
	return value, err
}

func main() {}
`;

const PYTHON = `from bennu import Payload, Socket, channel, on


@channel("bench:*")
class Echo:
    counted: int = 0

    @on("count")
    def count(self, socket: Socket):
        self.counted += 1
        return {"count": self.counted}

    @on("parse")
    def parse(self, socket: Socket, payload: Payload):
        return payload
`;

/** Calls that wait for their replies at the same time. */
const WINDOW = 32;

/** How much the memory of an instance may grow, in bytes: two pages. */
const GROWTH = 128 << 10;

/** Calls one instance so many times. */
async function call(channel, times) {
  const sent = [], payload = { text: "some text", list: [1, 2, { three: 3 }] };
  const answered = async () => assert.equal((await sent.shift()).status, "ok");
  for (let number = 0; number < times; number++) {
    sent.push(channel.push(number % 2 ? "count" : "parse", payload, 60_000));
    if (sent.length === WINDOW) await answered();
  }
  while (sent.length > 0) await answered();
}

/** Serves a project whose plugin has one instance, which is never replaced. Returns a client, and what reads the plugin's usage. */
async function echo(t, project) {
  const host = await project.serve(t);
  const usage = async () => JSON.parse(await host.bennu("plugins", "--json")).app.usage;
  return { host, usage, ada: await join(connect(t, host), "bench:1") };
}

for (const [lang, source] of [["go", GO], ["python", PYTHON]]) {
  test(`a plugin in ${lang}`, async (t) => {
    const project = await newProject(t, { lang });
    if (lang === "python") await project.shell("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt");
    await project.edit(() => source);
    await project.bennu("build");
    // Only the time of the processor counts here.
    const cpu = `call_cpu_ms = ${bound("large_messages::call_cpu") * DEFAULT_MS}`;
    const limits = `[limits]\n${cpu}\ncall_wall_ms = 60000\ncalls_per_instance = 100000000\n\n[plugins.app]\ninstances = 1\n`;
    await project.write("bennu.toml", `${await project.read("bennu.toml")}\n${limits}`);

    await t.test("the memory of an instance is flat", async (t) => {
      const { ada, usage } = await echo(t, project), calls = rounds("instances::calls");
      await call(ada, calls / 4);
      const before = await usage();
      await call(ada, calls - calls / 4);
      const after = await usage();
      assert.deepEqual([before.instances, after.instances], [1, 1]);
      t.diagnostic(`${before.memory_bytes} bytes after ${calls / 4} calls, and ${after.memory_bytes} after ${calls}`);
      assert.ok(after.memory_bytes <= before.memory_bytes + GROWTH, `${before.memory_bytes} bytes became ${after.memory_bytes}`);
    });

    await t.test("messages of the maximum size are parsed and written", async (t) => {
      const { host, ada, usage } = await echo(t, project);
      for (const [what, payload] of Object.entries(PAYLOADS)) {
        const before = (await usage()).cpu_ms;
        const { status, response } = await ada.push("parse", payload, 60_000);
        assert.equal(status, "ok", `${what}: ${host.log.split("\n").filter((line) => line.includes("fault")).at(-1)}`);
        assert.deepEqual(response, payload, what);
        t.diagnostic(`${what}: ${(await usage()).cpu_ms - before} ms of CPU time; the default of call_cpu_ms is ${DEFAULT_MS}`);
      }
    });
  });
}
