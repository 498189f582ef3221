// Makes projects with `bennu new`, in temporary folders that are gone when a test ends.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

import { binary, cache, develop, serve } from "./host.mjs";

const run = promisify(execFile);

/** Makes a project. */
export async function newProject(test, { lang = "ts", template = "chat" } = {}) {
  const parent = await mkdtemp(join(tmpdir(), "bennu-project-"));
  // A command that was ended may still be writing: Node tries again if a directory isn't empty.
  test.after(() => rm(parent, { recursive: true, maxRetries: 10 }));
  const { stdout } = await run(binary, ["new", "app", "--lang", lang, "--template", template], { cwd: parent });
  return new Project(join(parent, "app"), lang, stdout);
}

/** The sources of projects that are built. */
const SOURCES = { go: "main.go", python: "src/channels.py", rust: "src/lib.rs" };

/** What this repository's own build sets, and cargo for the programs that it runs. A project's own build has none of it. */
const OF_THIS_BUILD = ["CARGO", "CARGO_TARGET_DIR", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"];

/** The environment of a project, as a person's terminal has it. */
function environment(lang) {
  if (lang !== "rust") return process.env;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !OF_THIS_BUILD.includes(name)));
}

class Project {
  constructor(folder, lang, printed) {
    /** The folder of the project. */
    this.folder = folder;
    /** What `bennu new` printed. */
    this.printed = printed;
    /** The environment of the commands that run in the folder. */
    this.env = environment(lang);
    /** The path of the channel's source in the project. */
    this.source = SOURCES[lang] ?? `plugins/app.${lang}`;
  }

  read(file) {
    return readFile(join(this.folder, file), "utf8");
  }

  /** Saves a changed source, as an editor does. `change` gets the text. */
  async edit(change) {
    await this.write(this.source, change(await this.read(this.source)));
  }

  /** Saves a file, in a folder that may be new. */
  async write(file, text) {
    const path = join(this.folder, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.part`, text);
    await rename(`${path}.part`, path);
  }

  /** Serves the project. */
  serve(test) {
    return serve(test, this.folder);
  }

  /** Serves the project with `bennu dev`, which builds it on each save. */
  develop(test) {
    return develop(test, this.folder);
  }

  /** Runs `bennu` in the folder. Returns what it printed. */
  async bennu(...command) {
    // A host finds there what a build has compiled.
    return (await run(resolve(binary), command, { cwd: this.folder, env: { ...this.env, XDG_CACHE_HOME: cache } })).stdout;
  }

  /** Runs a line of a shell in the folder. Returns what it printed. */
  async shell(line) {
    return (await run("sh", ["-c", line], { cwd: this.folder, maxBuffer: 1 << 26 })).stdout;
  }

  /** Runs the native tests. Returns what Node printed. */
  async nativeTests() {
    const kind = this.source.split(".").at(-1);
    const command = ["--import", "./vendor/bennu/testing/register.mjs", "--test", `tests/app.test.${kind}`];
    // Node's runner behaves differently in a test of its own.
    const { NODE_TEST_CONTEXT: _, ...env } = { ...process.env, BENNU: resolve(binary) };
    return (await run(process.execPath, command, { cwd: this.folder, env })).stdout;
  }
}
