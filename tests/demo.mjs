// Starts the demo as `cargo xtask demo` does: with its configuration, its pages, and a token for each of its users.

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { pages, startHost } from "./host.mjs";

const configuration = resolve(import.meta.dirname, "../guest-examples/demo/bennu.toml");

/** The secret that signs the tests' tokens. The host and `bennu token` take it from the environment. */
process.env.BENNU_SECRET_KEY_BASE ??= "the tests' own secret, which protects nothing";

/**
 * Starts a host as the demo does.
 *
 * @param {import("node:test").TestContext} test at whose end the host ends
 * @param {{plugins?: string[], config?: string}} options `config` is added to the demo's configuration
 */
export async function startDemo(test, { plugins = ["chat", "notifications"], config = "" } = {}) {
  const page = await mkdtemp(join(tmpdir(), "bennu-pages-"));
  test.after(() => rm(page, { recursive: true }));
  await cp(pages, page, { recursive: true });
  const host = await startHost(test, { plugins, page, config: (await readFile(configuration, "utf8")) + config });
  const people = await Promise.all(["ada", "bo", "cleo"].map(async (user) => ({ user, token: await token(host, user) })));
  const demo = { programs: plugins, people, send: "bennu send" };
  await writeFile(join(page, "demo.json"), JSON.stringify(demo));
  return host;
}

/** A token of the mount `/user`. */
export const token = (host, user, ...options) => host.bennu("token", "sign", "--salt", "user", ...options, user);

/** Sends a user a notification by command line, and returns its id. */
export async function notify(host, user, notification) {
  return JSON.parse(await host.bennu("send", `user:${user}`, "notify", JSON.stringify(notification))).id;
}
