// The largest legal messages, in Go and Python. The tests in Rust have the same payloads for Rust and TypeScript.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, join } from "../phoenix/client.mjs";
import { newProject } from "../project.mjs";

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

type Echo struct{}

type Socket = bennu.Socket[bennu.None]

func init() { bennu.Serve[Echo, bennu.None]("bench:*") }

func (*Echo) Join(*Socket, bennu.Payload) (any, error) { return nil, nil }

func (*Echo) HandleIn(_ *Socket, event string, payload bennu.Payload) (any, error) {
	var value any
	err := payload.Into(&value)
	return value, err
}

func main() {}
`;

const PYTHON = `from bennu import Payload, Socket, channel, on


@channel("bench:*")
class Echo:
    @on("parse")
    def parse(self, socket: Socket, payload: Payload):
        return payload
`;

for (const [lang, source] of [["go", GO], ["python", PYTHON]]) {
  test(`messages of the maximum size are parsed and written in ${lang}`, async (t) => {
    const project = await newProject(t, { lang });
    if (lang === "python") await project.shell("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt");
    await project.edit(() => source);
    await project.bennu("build");
    // Only the time of the processor counts here.
    await project.write("bennu.toml", `${await project.read("bennu.toml")}\n[limits]\ncall_wall_ms = 60000\n`);
    const host = await project.serve(t);
    const ada = await join(connect(t, host), "bench:1");
    const used = async () => JSON.parse(await host.bennu("plugins", "--json")).app.usage.cpu_ms;
    for (const [what, payload] of Object.entries(PAYLOADS)) {
      const before = await used();
      const { status, response } = await ada.push("parse", payload, 60_000);
      assert.equal(status, "ok", `${what}: ${host.log.split("\n").filter((line) => line.includes("fault")).at(-1)}`);
      assert.deepEqual(response, payload, what);
      t.diagnostic(`${what}: ${(await used()) - before} ms of CPU time; the default of call_cpu_ms is ${DEFAULT_MS}`);
    }
  });
}
