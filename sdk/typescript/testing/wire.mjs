// A thread that exchanges lines with `bennu kit`, so that the thread of the tests can wait for an answer.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { workerData } from "node:worker_threads";

const { program, port, given } = workerData;
const kit = spawn(program, ["kit"], { stdio: ["pipe", "pipe", "inherit"] });

function give(message) {
  port.postMessage(message);
  Atomics.add(given, 0, 1);
  Atomics.notify(given, 0);
}

createInterface({ input: kit.stdout }).on("line", (line) => give({ line }));
kit.on("error", (error) => give({ ended: `can't be started (${error.message}); put \`bennu\` on the PATH, or set BENNU to its path` }));
kit.on("exit", (code) => give({ ended: `has ended with ${code}` }));
kit.stdin.on("error", () => {}); // The exit says why.
port.on("message", (line) => (line === null ? kit.stdin.end() : kit.stdin.write(`${line}\n`)));
