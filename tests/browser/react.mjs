// The page of react.test.mjs, made as users of the npm package make theirs: with the packed `client/` and a bundler.

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { build } from "esbuild";

const client = resolve(import.meta.dirname, "../../client");
const installed = resolve(import.meta.dirname, "../node_modules");
const run = promisify(execFile);

/** A folder with the sources of the page and the examples of the README, and with `bennu-client` installed from its package. */
export async function project() {
  const folder = await mkdtemp(join(tmpdir(), "bennu-react-"));
  await cp(join(import.meta.dirname, "react"), folder, { recursive: true });
  const blocks = (await readFile(join(client, "README.md"), "utf8")).matchAll(/^```tsx\n(.*?)^```/gms);
  for (const [at, [, code]] of [...blocks].entries()) await writeFile(join(folder, `readme${at}.tsx`), code);
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const modules = join(folder, "node_modules");
  await mkdir(join(modules, "bennu-client"), { recursive: true });
  for (const name of await readdir(installed)) {
    if (!name.startsWith(".")) await symlink(join(installed, name), join(modules, name), "junction");
  }
  const { files } = await packed();
  for (const { path } of files) await cp(join(client, path), join(modules, "bennu-client", path));
  return folder;
}

/** What `npm pack` would put into the package. */
export async function packed() {
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const { stdout } = await run(npm, ["pack", "--dry-run", "--json"], { cwd: client, shell: process.platform === "win32" });
  const answer = JSON.parse(stdout);
  // npm 11 answers with a list, npm 12 with an object.
  return Object.values(answer)[0];
}

/** Bundles the page, and renders its first HTML as a server does. Returns the page's folder. */
export async function bundle(folder) {
  const page = join(folder, "page");
  const common = { absWorkingDir: folder, bundle: true, format: "esm", jsx: "automatic", logLevel: "error" };
  await build({ ...common, entryPoints: ["main.tsx"], outfile: join(page, "main.js"), define: { "process.env.NODE_ENV": '"development"' } });
  await build({ ...common, entryPoints: ["server.tsx"], outfile: join(folder, "server.js"), packages: "external", platform: "node" });
  const { html } = await import(pathToFileURL(join(folder, "server.js")));
  await writeFile(join(page, "index.html"), html);
  return page;
}
