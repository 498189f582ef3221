// A real host, started for one test: its own folder of plugins, a free port, and its end with the test.

import { execFile, spawn } from "node:child_process";
import { copyFile, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const root = resolve(import.meta.dirname, "..");
const binary = process.env.BENNU_BIN ?? join(root, "target/debug/bennu");
const guests = process.env.BENNU_GUESTS ?? join(root, "target/guests");
/** The cache of compiled plugins that the tests in Rust use, too. */
const cache = resolve(guests, "../tests/cache");
/** Where the pages were put together. */
export const pages = process.env.BENNU_PAGES ?? join(root, "target/pages");

/** The limit of each wait. It is long, because tests run side by side; a test that passes never waits so long. */
const DEADLINE = 60_000;

/** The built plugin `name`, such as `echo` or `variants/echo-v2`. */
export const plugin = (name) => join(guests, `${name}.wasm`);

/**
 * Starts a host with some plugins, and a page where one is named: an example's, or the one in a folder of its own.
 *
 * @param {import("node:test").TestContext} test at whose end the host ends
 * @param {{plugins: string[], page?: string, config?: string}} options `config` is the text of its bennu.toml
 */
export async function startHost(test, { plugins, page, config }) {
  const folder = await mkdtemp(join(tmpdir(), "bennu-"));
  const host = new Host(folder, page && resolve(pages, page), config);
  test.after(async () => {
    await host.stop();
    await rm(folder, { recursive: true });
  });
  if (config !== undefined) await writeFile(join(folder, "bennu.toml"), config);
  for (const name of plugins) await copyFile(plugin(name), join(folder, `${name}.wasm`));
  await host.start();
  return host;
}

/** Waits until `condition` gives something true, and gives that. */
export async function until(what, condition) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What `promise` becomes, unless that takes too long. */
export async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), DEADLINE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

class Host {
  #folder;
  #page;
  #config;
  #process;
  /** Kept over a restart, since clients come back to the address that they know. */
  #port = 0;
  /** What the host wrote to its log. */
  log = "";

  constructor(folder, page, config) {
    this.#folder = folder;
    this.#page = page;
    this.#config = config;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  get socketUrl() {
    return `ws://127.0.0.1:${this.#port}/socket`;
  }

  async start() {
    const page = this.#page ? ["--static", this.#page] : [];
    const config = this.#config === undefined ? [] : ["--config", join(this.#folder, "bennu.toml")];
    const command = ["serve", this.#folder, "--listen", `127.0.0.1:${this.#port}`, ...page, ...config];
    const env = { ...process.env, XDG_CACHE_HOME: cache };
    this.#process = spawn(binary, command, { cwd: this.#folder, env, stdio: ["ignore", "pipe", "pipe"] });
    this.#process.stderr.on("data", (text) => (this.log += text));
    const ended = new Promise((_, reject) => {
      this.#process.once("error", (error) => reject(new Error(`cannot start ${binary}`, { cause: error })));
      this.#process.once("exit", (code) => reject(new Error(`the host ended with ${code}:\n${this.log}`)));
    });
    ended.catch(() => {}); // It ends one day, and nobody waits for it any more.
    this.#port = Number(await within("the host to listen", Promise.race([listening(this.#process.stdout), ended])));
  }

  /** Ends the host without a word to anybody, as a power cut does. */
  async kill() {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await within("the host to end", ended);
  }

  async stop() {
    const host = this.#process;
    if (!host || host.exitCode !== null || host.signalCode !== null) return;
    const ended = new Promise((resolve) => host.once("exit", resolve));
    host.kill("SIGTERM");
    await within("the host to end", ended).catch((error) => {
      host.kill("SIGKILL");
      throw error;
    });
  }

  /** Runs `bennu` with some arguments, and gives what it prints. What asks a running host asks this one. */
  async bennu(...command) {
    const env = { ...process.env, BENNU_HOST: `127.0.0.1:${this.#port}` };
    const { stdout } = await promisify(execFile)(binary, command, { cwd: this.#folder, env });
    return stdout.trim();
  }

  /** Asks the HTTP API, with the key that the host has made: as `fetch`, by a path such as `/api/topics`. */
  async api(path, options = {}) {
    const key = (await readFile(join(this.#folder, "data", "api-key"), "utf8")).trim();
    return fetch(this.url + path, { ...options, headers: { authorization: `Bearer ${key}`, ...options.headers } });
  }

  /** Puts another build in the place of the plugin `name`, as a build tool does: by a rename. */
  async replace(name, bytes) {
    const beside = join(this.#folder, `${name}.part`);
    await writeFile(beside, bytes);
    await rename(beside, join(this.#folder, `${name}.wasm`));
  }
}

/** The port in the line that a host prints when it is ready. */
function listening(stdout) {
  return new Promise((resolve) => {
    let printed = "";
    stdout.on("data", (text) => {
      printed += text;
      const port = /^Listening on http:\/\/.*:(\d+)$/m.exec(printed)?.[1];
      if (port) resolve(port);
    });
  });
}
