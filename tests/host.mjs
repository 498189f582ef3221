// Starts a real host for one test, with its own folder of plugins and a free port. The host ends with the test.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join, resolve } from "node:path";
import { promisify } from "node:util";

const root = resolve(import.meta.dirname, "..");
/** The executable `bennu`. */
export const binary = process.env.BENNU_BIN ?? join(root, "target/debug/bennu");
const guests = process.env.BENNU_GUESTS ?? join(root, "target/guests/quick");
/** The cache of compiled plugins, which the tests in Rust use too. */
export const cache = resolve(guests, "../tests/cache");
/** The folder of the assembled pages. */
export const pages = process.env.BENNU_PAGES ?? join(root, "target/pages");

/** The limit of each wait in milliseconds. It is long, because tests run in parallel. Only a failed test waits so long. */
export const DEADLINE = 180_000;

/** The built plugin `name`, such as `echo`, `variants/echo-v2`, or `realtime.ts`. */
export const plugin = (name) => join(guests, extname(name) ? name : `${name}.wasm`);

/**
 * Starts a host with some plugins. `page` is the folder of its static page: the name of an example, or a path.
 *
 * @param {import("node:test").TestContext} test at whose end the host ends
 * @param {{plugins?: string[], scripts?: Record<string, string>, page?: string, config?: string}} options `scripts` has the content
 * of files such as `chat.ts`, and `config` is the text of its bennu.toml
 */
export async function startHost(test, { plugins = [], scripts = {}, page, config }) {
  const folder = await mkdtemp(join(tmpdir(), "bennu-"));
  const command = ["serve", folder];
  if (page) command.push("--static", resolve(pages, page));
  if (config !== undefined) command.push("--config", join(folder, "bennu.toml"));
  const host = hostIn(test, folder, command);
  if (config !== undefined) await writeFile(join(folder, "bennu.toml"), config);
  for (const file of plugins.map(plugin)) await copyFile(file, join(folder, basename(file)));
  for (const [file, content] of Object.entries(scripts)) await writeFile(join(folder, file), content);
  await host.start();
  return host;
}

/**
 * Starts `bennu dev` in a project with these files: each path with its content.
 *
 * @param {import("node:test").TestContext} test at whose end it ends
 * @param {Record<string, string>} files
 * @param {{modules?: string}} options `modules` is a folder of npm packages, which becomes the project's `node_modules`
 */
export async function startDev(test, files, { modules } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "bennu-project-"));
  const host = hostIn(test, folder, ["dev"]);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  if (modules) await symlink(modules, join(folder, "node_modules"));
  await host.start();
  return host;
}

/** A host that isn't started yet. At the end of the test it ends, and its folder is deleted. */
function hostIn(test, folder, command) {
  const host = new Host(folder, command);
  test.after(async () => {
    await host.stop();
    await rm(folder, { recursive: true });
  });
  return host;
}

/** Starts a host with the `bennu.toml` of a folder. */
export async function serve(test, folder) {
  const host = new Host(folder, ["serve", "--config", join(folder, "bennu.toml")]);
  test.after(() => host.stop());
  await host.start();
  return host;
}

/** Starts `bennu dev` in the folder of a project. */
export async function develop(test, folder) {
  const host = new Host(folder, ["dev"]);
  test.after(() => host.stop());
  await host.start();
  return host;
}

/** A port that nothing listens on, and that stays free while its server is down. */
export async function freePort() {
  for (;;) {
    // From 20000 to 29999. A system gives only higher ones (Linux: from 32768 on) to whoever asks for any port, and the kernel could give
    // one of those to an outgoing connection before a server listens on it. The tests in Rust have the ports from 10000 to 19999
    // (`tests/engines/src/process.rs`), so that the two never pick the same one at the same time.
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(() => true, () => false);
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

/** Waits until `condition` returns a true value, and returns this value. */
export async function until(what, condition) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`timeout while waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waits for `promise` and returns its value. Throws an error after the time limit. */
export async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`timeout while waiting for ${what}`)), DEADLINE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

class Host {
  #folder;
  /** The command that starts it. */
  #command;
  #process;
  /** The number of the process that has replaced the first one. */
  #successor;
  /** The port. A restart keeps it, because clients reconnect to the same address. */
  #port = 0;
  /** The host's log. */
  log = "";

  constructor(folder, command) {
    this.#folder = folder;
    this.#command = command;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  get socketUrl() {
    return `ws://127.0.0.1:${this.#port}/socket`;
  }

  async start() {
    const command = [...this.#command, "--listen", `127.0.0.1:${this.#port}`];
    const env = { ...process.env, XDG_CACHE_HOME: cache };
    this.#process = spawn(binary, command, { cwd: this.#folder, env, stdio: ["ignore", "pipe", "pipe"] });
    this.#process.stderr.on("data", (text) => (this.log += text));
    const ended = new Promise((_, reject) => {
      this.#process.once("error", (error) => reject(new Error(`cannot start ${binary}`, { cause: error })));
      this.#process.once("exit", (code) => reject(new Error(`the host ended with ${code}:\n${this.log}`)));
    });
    ended.catch(() => {}); // Later, the host ends when nothing waits for `ended`. That is no error.
    this.#port = Number(await within("the host to listen", Promise.race([listening(this.#process.stdout), ended])));
  }

  /** Kills the host without a clean stop, as a power failure does. */
  async kill() {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await within("the host to end", ended);
  }

  /** Replaces the process by a new one, with `bennu upgrade`. */
  async upgrade() {
    const { stdout } = await promisify(execFile)(binary, ["upgrade", "--data", "data"], { cwd: this.#folder });
    this.#successor = Number(stdout.match(/the process (\d+) serves now/)[1]);
  }

  async stop() {
    if (this.#successor) {
      const pid = this.#successor;
      this.#successor = undefined;
      process.kill(pid);
      // It isn't a child of this process, and it may remain as a zombie.
      const state = async () => (await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ") Z")).split(") ").at(-1);
      await until("the host ends", async () => (await state()).startsWith("Z"));
      return;
    }
    const host = this.#process;
    if (!host || host.exitCode !== null || host.signalCode !== null) return;
    const ended = new Promise((resolve) => host.once("exit", resolve));
    host.kill("SIGTERM");
    await within("the host to end", ended).catch((error) => {
      host.kill("SIGKILL");
      throw error;
    });
  }

  /** Runs `bennu` with some arguments, and returns its output. Commands that need a running host use this one. */
  async bennu(...command) {
    const env = { ...process.env };
    // Of a stopped host, commands read the data directory, unless they are told to ask a host.
    const isRunning = this.#process.exitCode === null && this.#process.signalCode === null;
    if (isRunning) env.BENNU_HOST = `127.0.0.1:${this.#port}`;
    const { stdout } = await promisify(execFile)(binary, command, { cwd: this.#folder, env });
    return stdout.trim();
  }

  /** Calls the HTTP API with the host's API key, as `fetch` does. The path is for example `/api/topics`. */
  async api(path, options = {}) {
    const authorization = `Bearer ${await this.apiKey()}`;
    return fetch(this.url + path, { ...options, headers: { authorization, ...options.headers } });
  }

  /** Reads the API key that the host made. */
  async apiKey() {
    return (await readFile(join(this.#folder, "data", "api-key"), "utf8")).trim();
  }

  /** Replaces the plugin `name` by another build. As a build tool does, it renames a new file. */
  async replace(name, bytes) {
    await this.write(`${name}.wasm`, bytes);
  }

  /** Writes a file into the folder of plugins, or of the project, under another name first. */
  async write(file, content) {
    const part = join(this.#folder, dirname(file), `.${basename(file)}.part`);
    await writeFile(part, content);
    await rename(part, join(this.#folder, file));
  }
}

/** Reads the port from the line that a host prints when it is ready. */
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
