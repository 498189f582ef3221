// The official Phoenix client through each proxy of deploy/, with TLS: WebSocket, long-poll, and a reload of the proxy.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join as path, resolve } from "node:path";
import { test } from "node:test";
import { LongPoll } from "phoenix";
import { WebSocket } from "ws";

import { startHost, until } from "../host.mjs";
import { connect, join } from "../phoenix/client.mjs";

/** Debian has servers in /usr/sbin, which isn't in every user's PATH. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
const deploy = resolve(import.meta.dirname, "../../deploy");

/** A free port. Something else may take it before the proxy does, which then fails the test with a clear error. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A certificate for localhost that only this test knows. */
function certificate(folder) {
  const [cert, key] = ["cert.pem", "key.pem"].map((file) => path(folder, file));
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...subject, "-keyout", key, "-out", cert], {
    stdio: "ignore",
  });
  return { cert, key };
}

/** The configuration of deploy/, with the ports, the certificate and the folder of this test. Each text must be there. */
async function configuration(file, changes) {
  let text = await readFile(path(deploy, file), "utf8");
  for (const [from, to] of changes) {
    assert.ok(text.includes(from), `${file} has no \`${from}\``);
    text = text.replaceAll(from, to);
  }
  return text;
}

/**
 * How each proxy is started and reloaded. `reload` makes it read its configuration and certificate again, while its connections
 * stay open for a while.
 */
const proxies = {
  nginx: {
    command: (folder) => ["nginx", "-p", folder, "-c", path(folder, "nginx.conf")],
    async configure({ folder, http, https, host, cert, key }) {
      const server = await configuration("nginx.conf", [
        ["listen 80;", `listen 127.0.0.1:${http};`],
        ["    listen [::]:80;\n", ""],
        ["listen 443 ssl", `listen 127.0.0.1:${https} ssl`],
        ["    listen [::]:443 ssl http2;\n", ""],
        ["127.0.0.1:4000", host],
        ["chat.example.com;", "localhost;"],
        ["/etc/ssl/chat.example.com.pem", cert],
        ["/etc/ssl/private/chat.example.com.key", key],
      ]);
      const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`);
      const text = `daemon off; pid ${folder}/pid; error_log stderr; events {} http { access_log off; ${paths.join(" ")}\n${server}}`;
      await writeFile(path(folder, "nginx.conf"), text);
    },
    reload: (proxy) => proxy.kill("SIGHUP"),
  },
  haproxy: {
    command: (folder) => ["haproxy", "-W", "-f", path(folder, "haproxy.cfg")],
    async configure({ folder, http, https, host, cert, key }) {
      const both = path(folder, "both.pem");
      await writeFile(both, `${await readFile(cert, "utf8")}${await readFile(key, "utf8")}`);
      const text = await configuration("haproxy.cfg", [
        ["bind :80", `bind 127.0.0.1:${http}`],
        ["bind :443", `bind 127.0.0.1:${https}`],
        ["/etc/ssl/private/chat.example.com.pem", both],
        ["127.0.0.1:4000", host],
      ]);
      await writeFile(path(folder, "haproxy.cfg"), text);
    },
    reload: (proxy) => proxy.kill("SIGUSR2"),
  },
  caddy: {
    command: (folder) => ["caddy", "run", "--config", path(folder, "Caddyfile"), "--adapter", "caddyfile"],
    async configure({ folder, http, https, admin, host, cert, key }) {
      const site = await configuration("Caddyfile", [
        ["chat.example.com {", `https://localhost:${https} {\n\tbind 127.0.0.1\n\ttls ${cert} ${key}`],
        ["127.0.0.1:4000", host],
      ]);
      const options = `{\n\tadmin 127.0.0.1:${admin}\n\thttp_port ${http}\n\thttps_port ${https}\n}\n`;
      await writeFile(path(folder, "Caddyfile"), `${options}${site}`);
    },
    reload: (_, { folder, admin }) => {
      const reload = ["reload", "--config", path(folder, "Caddyfile"), "--adapter", "caddyfile", "--address", `127.0.0.1:${admin}`];
      execFileSync("caddy", [...reload, "--force"], { stdio: "ignore" });
    },
  },
};

/** Starts a proxy in front of a host. */
async function start(t, name, host) {
  const folder = await mkdtemp(path(tmpdir(), "bennu-proxy-"));
  const [http, https, admin] = [await freePort(), await freePort(), await freePort()];
  const { cert, key } = certificate(folder);
  const setup = { folder, http, https, admin, host: new URL(host.url).host, cert, key };
  await proxies[name].configure(setup);
  const [program, ...flags] = proxies[name].command(folder);
  const child = spawn(program, flags, { stdio: ["ignore", "pipe", "pipe"], env: { ...env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder } });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (log += text));
  const ended = once(child, "exit");
  t.after(async () => {
    child.kill("SIGTERM");
    await ended;
    await rm(folder, { recursive: true, force: true });
  });
  const ca = await readFile(cert);
  await until(`${name} answers: ${log}`, async () => {
    if (child.exitCode !== null) throw new Error(`${name} has ended: ${log}`);
    return (await status(https, ca, "/api")) === 404;
  });
  return { url: `wss://localhost:${https}/socket`, https, ca, reload: () => proxies[name].reload(child, setup), log: () => log };
}

/** The status of a GET through the proxy, or 0 if there is no answer. */
function status(port, ca, target, headers = {}) {
  return new Promise((resolve) => {
    const asked = request({ host: "localhost", port, path: target, ca, headers, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    asked.on("error", () => resolve(0));
    asked.end();
  });
}

/** A WebSocket that trusts the test's certificate, and sends the origin of a page. */
function trusting(ca, origin) {
  return class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { ca, origin });
    }
  };
}

for (const name of Object.keys(proxies)) {
  test(`channels work through ${name}`, async (t) => {
    const host = await startHost(t, { plugins: ["echo"], config: "" });
    const proxy = await start(t, name, host);
    const behind = { socketUrl: proxy.url };

    // `check_origin = true` compares the page's origin with `Host`, which the proxy must pass on.
    const page = { transport: trusting(proxy.ca, `https://localhost:${proxy.https}`) };
    const alice = await join(connect(t, behind, page), "echo:1");
    assert.deepEqual((await alice.push("echo", { a: [1, null] })).response, { a: [1, null] });
    const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw==" };
    assert.equal(await status(proxy.https, proxy.ca, "/socket/websocket?vsn=2.0.0", { ...upgrade, origin: "https://evil.example" }), 403);

    // Long-poll, whose client uses `fetch` or XMLHttpRequest: Node's trusts the certificate by NODE_EXTRA_CA_CERTS only.
    const poller = await pollThrough(t, proxy);
    poller.send("shout", { from: "poller" });
    assert.deepEqual(await alice.next("shout"), { from: "poller" });

    // The API isn't reachable from outside, with any spelling that the host would accept.
    for (const target of ["/api", "/api/", "/api/inspect", "/api/topics?x=/socket", "/metrics"]) {
      assert.equal(await status(proxy.https, proxy.ca, target, { authorization: "Bearer x" }), 404, target);
    }

    // A reload of the proxy. nginx and HAProxy keep the connection; the client comes back if Caddy closes it.
    await proxy.reload();
    const bob = await until("a new client joins", () => join(connect(t, behind, page), "echo:1").catch(() => null));
    const before = alice.joins;
    bob.send("shout", { from: "bob" });
    await until("alice is joined", async () => (await alice.push("echo", {}, 1000)).status === "ok");
    if (alice.joins === before) assert.deepEqual(await alice.next("shout"), { from: "bob" });
    // Before the host ends: the client would poll on, and log the proxy's errors.
    poller.channel.socket.disconnect();
    t.diagnostic(`${name}: the client joined ${alice.joins} times`);
  });
}

/** A client over long-poll. Its requests go through `fetch`, which gets the certificate here. */
async function pollThrough(t, proxy) {
  const usual = globalThis.fetch;
  t.after(() => (globalThis.fetch = usual));
  globalThis.fetch = (url, { method = "GET", headers = {}, body, signal } = {}) =>
    new Promise((resolve, reject) => {
      const asked = request(url, { method, headers, ca: proxy.ca, signal }, async (answer) => {
        let text = "";
        for await (const part of answer) text += part;
        resolve({ ok: true, status: answer.statusCode, text: async () => text });
      });
      asked.on("error", reject);
      asked.end(body ?? undefined);
    });
  return join(connect(t, { socketUrl: proxy.url }, { transport: LongPoll }), "echo:1");
}
