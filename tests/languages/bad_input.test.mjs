// Mistakes of plugins in Go and Python: each is a fault or a failed build that names its place, and a neighbour is unharmed. The tests in
// Rust have the same for scripts.

import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "../host.mjs";
import { connect, join } from "../phoenix/client.mjs";
import { newProject } from "../project.mjs";

const GO = `package main

import (
	"fmt"
	"os"
	"time"

	"bennu.dev/bennu"
)

type Member struct{ Count int }

type Socket = bennu.Socket[bennu.None]

func init() { bennu.Serve[Member, bennu.None]("room:*", bennu.Options{KeepOnFault: true}) }

func (*Member) Join(*Socket, bennu.Payload) (any, error) { return nil, nil }

func (m *Member) HandleIn(socket *Socket, event string, payload bennu.Payload) (any, error) {
	var list []int
	var table map[string]int
	switch event {
	case "count":
		m.Count++
		return bennu.M{"count": m.Count}, nil
	case "endless":
		spin()
	case "sleep":
		time.Sleep(time.Hour)
	case "recursion":
		return descend(1), nil
	case "memory":
		for {
			list = append(list, make([]int, 1<<20)...)
		}
	case "index":
		return list[3], nil
	case "map":
		table["a"] = 1
	case "thrown":
		panic(struct{ Code int }{7})
	case "wait":
		<-make(chan int)
	case "exit":
		os.Exit(3)
	case "file":
		_, err := os.ReadFile("/etc/passwd")
		return nil, err
	case "error":
		return nil, fmt.Errorf("it is broken")
	case "array":
		socket.Push("array", []int{1})
	}
	return nil, nil
}

func spin() {
	for at := 0; ; at++ {
		counter = at
	}
}

var counter int

func descend(depth int) int { return descend(depth+1) + depth }

func main() {}
`;

const PYTHON = `import re
import sys

from bennu import Socket, channel, on


def descend(depth: int) -> int:
    return descend(depth + 1) + depth


@channel("room:*", on_fault="keep")
class Member:
    n: int = 0

    @on("count")
    def count(self, socket: Socket):
        self.n += 1
        return {"count": self.n}

    @on("endless")
    def endless(self, socket: Socket):
        while True:
            pass

    @on("regexp")
    def regexp(self, socket: Socket):
        return {"found": bool(re.match("(a+)+$", "a" * 40 + "b"))}

    @on("recursion")
    def recursion(self, socket: Socket):
        return descend(1)

    @on("memory")
    def memory(self, socket: Socket):
        kept = []
        while True:
            kept.append(bytearray(1 << 20))

    @on("index")
    def index(self, socket: Socket):
        return [][3]

    @on("thrown")
    def thrown(self, socket: Socket):
        raise "text"

    @on("exit")
    def leave(self, socket: Socket):
        sys.exit(3)

    @on("file")
    def file(self, socket: Socket):
        return open("/etc/passwd").read()

    @on("array")
    def array(self, socket: Socket):
        socket.push("array", [1])

    @on("deep")
    def deep(self, socket: Socket):
        value = []
        for _ in range(100_000):
            value = [value]
        return value
`;

/** The line of a source with this text, counted from 1. */
const lineOf = (source, text) => source.split("\n").findIndex((line) => line.includes(text)) + 1;
const go = (text) => `main\\.go:${lineOf(GO, text)}\\)`;
const python = (text) => `src/channels\\.py:${lineOf(PYTHON, text)}\\)`;

/** Each event, with what its fault says. */
const FAULTS = {
  go: {
    source: GO,
    faults: {
      endless: "the call ran for more than 2000 ms of CPU time.*; in main\\.__Member_\\.HandleIn",
      sleep: "the call ran for more than 2000 ms of CPU time",
      recursion: "goroutine stack exceeds|stack overflow|call stack exhausted",
      memory: "it requested more memory than it may have",
      index: `index out of range \\[3\\] with length 0; in main\\.\\(\\*Member\\)\\.HandleIn \\(${go("list[3]")}`,
      map: `assignment to entry in nil map; in main\\.\\(\\*Member\\)\\.HandleIn \\(${go('table["a"]')}`,
      thrown: `panic: \\{7\\}; in main\\.\\(\\*Member\\)\\.HandleIn \\(${go("panic(struct")}`,
      wait: "deadlock|deadline",
      exit: "called `exit` with the status 3",
      file: "open /etc/passwd",
      error: "it is broken",
      array: `must be an object.*; in main\\.\\(\\*Member\\)\\.HandleIn \\(${go('socket.Push("array"')}`,
    },
    refused: [
      [GO.replace('"fmt"', '"fmt"\n\t"lodash"'), "package lodash is not in std"],
      [`${GO}\nfunc broken( {}\n`, "main\\.go:\\d+:\\d+: syntax error"],
    ],
  },
  python: {
    source: PYTHON,
    faults: {
      endless: "the call ran for more than 2000 ms of CPU time",
      regexp: "the call ran for more than 2000 ms of CPU time",
      recursion: `RecursionError: .*; in descend \\(${python("return descend(depth + 1)")}`,
      memory: `MemoryError.*; in Member\\.memory \\(${python("kept.append")}`,
      index: `IndexError: list index out of range; in Member\\.index \\(${python("[][3]")}`,
      thrown: `TypeError: exceptions must derive from BaseException; in Member\\.thrown \\(${python('raise "text"')}`,
      exit: `SystemExit: 3|called \`exit\` with the status`,
      file: `FileNotFoundError.*; in Member\\.file \\(${python('open("/etc/passwd")')}`,
      array: `TypeError: the payload of \`array\` must be an object, and not list; in Member\\.array \\(${python('socket.push("array"')}`,
      deep: "RecursionError|trap",
    },
    refused: [
      [`import lodash\n${PYTHON}`, "No module named 'lodash'"],
      [`def broken(:\n${PYTHON}`, "SyntaxError|invalid syntax"],
    ],
  },
};

for (const [lang, { source, faults, refused }] of Object.entries(FAULTS)) {
  test(`mistakes of a plugin in ${lang} are faults with their places, and a neighbour is unharmed`, async (t) => {
    const project = await newProject(t, { lang });
    if (lang === "python") await project.shell("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt");
    for (const [broken, why] of refused) {
      await project.edit(() => broken);
      const failed = await project.bennu("build").catch((error) => error);
      assert.match(`${failed.stdout}${failed.stderr}`, new RegExp(why));
    }
    await project.edit(() => source);
    await project.bennu("build");
    // On a busy machine, a call takes much longer than its CPU time.
    await project.write("bennu.toml", `${await project.read("bennu.toml")}\n[limits]\ncall_wall_ms = 60000\n`);
    const host = await project.serve(t);
    const ada = await join(connect(t, host), "room:1");
    const bo = await join(connect(t, host), "room:2");
    let count = 0;
    for (const [event, why] of Object.entries(faults)) {
      const before = host.log.length;
      assert.equal((await ada.push(event, {}, 60_000)).status, "error", event);
      const line = await until(`the fault of ${event} is in the log`, () => / WARN fault: .*\n/.exec(host.log.slice(before))?.[0]);
      assert.match(line, new RegExp(why), `${event}: ${line}`);
      assert.deepEqual((await bo.push("count", {}, 60_000)).response, { count: ++count }, `the neighbour after ${event}`);
    }
    assert.equal(ada.joins + bo.joins, 2, "nobody had to join again");
  });
}
