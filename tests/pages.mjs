// The code of the documents, for tests that run it as it is printed.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";

import * as phoenix from "phoenix";
import { WebSocket } from "ws";

import { recover } from "../client/recover.mjs";
import { RoomState } from "../client/room_state.mjs";
import { startHost, until } from "./host.mjs";
import { checkTypes } from "./types.mjs";

const root = resolve(import.meta.dirname, "..");

/** The comment in the first line of a block that is Bennu's: `// Bennu, plugins/chat.ts`. */
const NAME = /^(?:\/\/|--|#|<!--) Bennu, (.+?)(?: -->)?$/;

/**
 * Reads the blocks of a document whose first line says that they are Bennu's.
 *
 * @returns {Promise<Map<string, Map<string, string>>>} by the heading of their section, the text of each block by its name
 */
export async function readPage(name) {
  const sections = new Map();
  let heading, block;
  for (const line of (await readFile(join(root, "docs", name), "utf8")).split("\n")) {
    if (block) {
      if (!line.startsWith("```")) block.push(line);
      else block = add(sections, heading, block);
    } else if (line.startsWith("```")) block = [];
    else if (line.startsWith("#")) heading = line.replace(/^#+ /, "");
  }
  return sections;
}

/** Adds a block to the section, if it is Bennu's. */
function add(sections, heading, block) {
  const name = NAME.exec(block[0] ?? "")?.[1];
  if (name === undefined) return;
  const section = sections.get(heading) ?? new Map();
  sections.set(heading, section);
  if (section.has(name)) throw new Error(`the section ${heading} has two blocks called ${name}`);
  section.set(name, `${block.join("\n")}\n`);
}

/** The plugins of a section, as `startHost` takes them. */
export function scripts(section) {
  const plugins = [...section].filter(([name]) => name.startsWith("plugins/"));
  return Object.fromEntries(plugins.map(([name, text]) => [name.slice("plugins/".length), text]));
}

/**
 * Runs a block of JavaScript as the body of a function. Imports are left out, because the block gets these names from here:
 * `Socket`, which connects to the host, `Presence`, `RoomState`, `recover`, and `names`.
 *
 * @param {string[]} wanted the names in the block whose values are returned
 */
export async function run(test, host, code, names = {}, wanted = []) {
  class Socket extends phoenix.Socket {
    constructor(path, options) {
      const url = host.url.replace(/^http/, "ws") + path;
      super(url, { transport: WebSocket, reconnectAfterMs: () => 50, rejoinAfterMs: () => 50, ...options });
      test.after(() => this.disconnect());
    }
  }
  const given = { Socket, Presence: phoenix.Presence, RoomState, recover, ...names };
  const body = `${code.replace(/^import .*$/gm, "")}\nreturn { ${wanted.join(", ")} };`;
  const AsyncFunction = (async () => {}).constructor;
  return new AsyncFunction(...Object.keys(given), body)(...Object.values(given));
}

/**
 * Tests a section of a page. `start` starts a host with the section's plugins and a configuration, `client` runs its client, and `shown`
 * gets what the client shows.
 */
export function section(page, heading, body) {
  test(heading, async (t) => {
    const blocks = page.get(heading);
    assert.ok(blocks, "the page has this section");
    const shown = [];
    const start = (config) => startHost(t, { scripts: scripts(blocks), config });
    const client = (host, names, wanted) =>
      run(t, host, blocks.get("the client"), { show: (text) => shown.push(text), ...names }, wanted);
    const shows = (text) => until(`the client shows ${text}`, () => shown.includes(text));
    await body({ t, blocks, start, client, shown, shows });
  });
}

/** Signs a JSON Web Token with a secret, as web applications do. It expires in ten minutes, unless `claims` has an `exp`. */
export function signJwt(secret, claims, alg = "HS256") {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg, typ: "JWT" })}.${part({ exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`;
  return `${text}.${createHmac(alg.replace("HS", "sha"), secret).update(text).digest("base64url")}`;
}

/** Checks the types of all plugins in TypeScript of some sections. */
export async function checkPlugins(sections) {
  const folder = await mkdtemp(join(tmpdir(), "bennu-page-"));
  try {
    const sdk = join(root, "sdk", "typescript");
    const options = JSON.parse(await readFile(join(sdk, "tsconfig.json"), "utf8")).compilerOptions;
    options.paths = { bennu: [join(sdk, "src", "index.ts")] };
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, include: [join(sdk, "contract.d.ts"), "**/*.ts"] }));
    for (const [at, section] of sections.entries()) {
      for (const [name, text] of Object.entries(scripts(section))) {
        const file = join(folder, String(at), name);
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, text);
      }
    }
    await checkTypes(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}
