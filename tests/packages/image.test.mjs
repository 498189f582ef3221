// The image of deploy/Dockerfile, from the archive of a release: built by buildah, on a Debian that debootstrap installs. So it
// needs no registry of images.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { promisify } from "node:util";

import { within } from "../host.mjs";
import { connect, join as joinTopic } from "../phoenix/client.mjs";

const run = promisify(execFile);
const dockerfile = resolve(import.meta.dirname, "../../deploy/Dockerfile");
const chat = resolve(import.meta.dirname, "../../templates/files/chat");
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, STORAGE_DRIVER: "vfs", BUILDAH_ISOLATION: "chroot" };

/** Why the image can't be built here, if it can't. */
async function obstacle() {
  if (process.getuid() !== 0) return "only root can run debootstrap";
  for (const program of ["buildah", "debootstrap"]) {
    const found = await run(program, ["--version"], { env }).catch((error) => error);
    if (found.code === "ENOENT") return `${program} isn't installed`;
  }
  return false;
}

/** The number of the process that runs `program`, among a process and those that it has started. */
async function processOf(pid, program) {
  const read = (file) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");
  if ((await read("cmdline")).split("\0")[0] === program) return pid;
  const started = await Promise.all((await readdir(`/proc/${pid}/task`)).map((thread) => read(`task/${thread}/children`)));
  for (const child of started.join(" ").split(" ").filter(Boolean)) {
    const found = await processOf(Number(child), program);
    if (found) return found;
  }
  return undefined;
}

test("the image has a host that runs without rights, and stops in order", { skip: await obstacle() }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "bennu-image-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const storage = ["--root", join(folder, "storage"), "--runroot", join(folder, "run")];
  const buildah = async (...args) => (await run("buildah", [...storage, ...args], { env, maxBuffer: 1 << 26 })).stdout.trim();

  const debian = join(folder, "debian");
  await run("debootstrap", ["--variant=minbase", "bookworm", debian], { env, maxBuffer: 1 << 26 });
  const scratch = await buildah("from", "scratch");
  await buildah("add", "--quiet", scratch, debian, "/");
  await buildah("commit", "--quiet", scratch, "docker.io/library/debian:bookworm-slim");

  const dist = process.env.BENNU_DIST;
  const [archive] = (await readdir(dist)).filter((file) => file.endsWith(".tar.gz"));
  await buildah("build", "--pull-never", "-f", dockerfile, "--build-arg", `ARCHIVE=${archive}`, "-t", "bennu", dist);
  const { OCIv1 } = JSON.parse(await buildah("inspect", "--type", "image", "bennu"));
  const { User, Entrypoint, Cmd, StopSignal } = OCIv1.config;
  assert.deepEqual([User, StopSignal], ["65534:65534", "SIGTERM"]);
  assert.deepEqual([...Entrypoint, ...Cmd], ["/usr/bin/bennu", "serve", "/plugins", "--listen", "0.0.0.0:4000"]);

  const container = await buildah("from", "--pull-never", "bennu");
  for (const directory of ["/data", "/cache"]) {
    assert.equal(await buildah("run", container, "--", "stat", "-c", "%a %u %g", directory), "700 65534 65534", directory);
  }
  const plugins = join(folder, "plugins");
  await mkdir(plugins);
  await run("cp", [join(chat, "chat.ts"), plugins]);
  await run("chmod", ["-R", "a+rX", plugins]);
  // As the image starts it, but with a free port, because this container shares the machine's network.
  const command = [...Entrypoint, ...Cmd.slice(0, 2), "--listen", "127.0.0.1:0"];
  const host = spawn("buildah", [...storage, "run", "-v", `${plugins}:/plugins:ro`, container, "--", ...command], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  host.stderr.on("data", (text) => (log += text));
  const ended = once(host, "exit");
  t.after(() => host.kill("SIGKILL"));
  const [line] = await within("the line with the address", once(createInterface(host.stdout), "line"));
  const socketUrl = `${line.replace("Listening on http://", "ws://")}/socket`;
  const alice = await joinTopic(connect(t, { socketUrl }), "room:lobby", { user: "alice" });
  assert.deepEqual(await alice.push("new_msg", { body: "hi" }), { status: "ok", response: {} });
  assert.doesNotMatch(log, /WARN|ERROR/);
  // buildah would kill the container's process instead of passing the signal on.
  process.kill(await processOf(host.pid, "/usr/bin/bennu"), "SIGTERM");
  assert.deepEqual(await within("the end of the host", ended), [0, null], log);
});
