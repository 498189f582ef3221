// A client in another process. It reads commands as lines of JSON, and writes received messages as lines of JSON.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { within } from "../host.mjs";

/** Starts a client with a program and its arguments. The client ends with the test. */
export function puppet(test, [program, ...args]) {
  const puppet = new Puppet(spawn(program, args));
  test.after(() => puppet.end());
  return puppet;
}

class Puppet {
  #process;
  #ended;
  #errors = "";
  #received = [];
  #waiting = [];

  constructor(process) {
    this.#process = process;
    process.stderr.on("data", (text) => (this.#errors += text));
    createInterface({ input: process.stdout }).on("line", (line) => this.#receive(JSON.parse(line)));
    this.#ended = new Promise((resolve, reject) => {
      process.once("error", (error) => reject(new Error(`cannot start ${process.spawnfile}`, { cause: error })));
      process.once("close", (code) => resolve(code));
    });
    this.#ended.catch(() => {}); // `next` and `close` report it.
  }

  /** Sends a command. */
  say(...words) {
    this.#process.stdin.write(`${JSON.stringify(words)}\n`);
  }

  /** Takes the next line that begins with these words. Returns the line's value after them. */
  async next(...words) {
    const begins = (line) => words.every((word, at) => line[at] === word);
    const rest = (line) => line[words.length];
    const at = this.#received.findIndex(begins);
    if (at >= 0) return rest(this.#received.splice(at, 1)[0]);
    const line = new Promise((take) => this.#waiting.push({ begins, take }));
    const ended = this.#ended.then((code) => {
      throw new Error(`the client ended with ${code}:\n${this.#errors}`);
    });
    return rest(await within(`${words} from ${this.#process.spawnfile}`, Promise.race([line, ended])));
  }

  /** Ends the client's input. The client must then close its connection and exit with 0. */
  async close() {
    this.#process.stdin.end();
    const code = await within(`${this.#process.spawnfile} to end`, this.#ended);
    if (code !== 0) throw new Error(`the client ended with ${code}:\n${this.#errors}`);
  }

  async end() {
    this.#process.kill("SIGKILL");
    await this.#ended.catch(() => {});
  }

  #receive(line) {
    const at = this.#waiting.findIndex(({ begins }) => begins(line));
    if (at >= 0) this.#waiting.splice(at, 1)[0].take(line);
    else this.#received.push(line);
  }
}
