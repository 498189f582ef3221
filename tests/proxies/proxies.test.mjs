// The official Phoenix client through each proxy of deploy/, with TLS: WebSocket, long-poll, the clients' addresses, and a reload of
// the proxy.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join as path, resolve } from "node:path";
import { test } from "node:test";
import { LongPoll } from "phoenix";
import { WebSocket } from "ws";

import { freePort, startHost, until } from "../host.mjs";
import { connect, join } from "../phoenix/client.mjs";

/** Debian has servers in /usr/sbin, which isn't in every user's PATH. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
const deploy = resolve(import.meta.dirname, "../../deploy");

/** A certificate for localhost that only this test knows. */
function certificate(folder) {
  const [cert, key] = ["cert.pem", "key.pem"].map((file) => path(folder, file));
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...subject, "-keyout", key, "-out", cert], {
    stdio: "ignore",
  });
  return { cert, key };
}

/** The configuration of deploy/, with the ports, the certificate, the folder and the changes of this test. Each text must be there. */
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
 * stay open for a while. `keeps` says whether a reload keeps the open connections, as docs/proxies.md says.
 */
const proxies = {
  nginx: {
    keeps: true,
    command: (folder) => ["nginx", "-p", folder, "-c", path(folder, "nginx.conf")],
    async configure({ folder, http, https, host, cert, key, changes }) {
      const server = await configuration("nginx.conf", [
        ["listen 80;", `listen 127.0.0.1:${http};`],
        ["    listen [::]:80;\n", ""],
        ["listen 443 ssl", `listen 127.0.0.1:${https} ssl`],
        ["    listen [::]:443 ssl http2;\n", ""],
        ["127.0.0.1:4000", host],
        ["chat.example.com;", "localhost;"],
        ["/etc/ssl/chat.example.com.pem", cert],
        ["/etc/ssl/private/chat.example.com.key", key],
        ...changes,
      ]);
      const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`);
      const text = `daemon off; pid ${folder}/pid; error_log stderr; events {} http { access_log off; ${paths.join(" ")}\n${server}}`;
      await writeFile(path(folder, "nginx.conf"), text);
    },
    reload: (proxy) => proxy.kill("SIGHUP"),
  },
  haproxy: {
    keeps: true,
    command: (folder) => ["haproxy", "-W", "-f", path(folder, "haproxy.cfg")],
    async configure({ folder, http, https, host, cert, key, changes }) {
      const both = path(folder, "both.pem");
      await writeFile(both, `${await readFile(cert, "utf8")}${await readFile(key, "utf8")}`);
      const text = await configuration("haproxy.cfg", [
        ["bind :80", `bind 127.0.0.1:${http}`],
        ["bind :443", `bind 127.0.0.1:${https}`],
        ["/etc/ssl/private/chat.example.com.pem", both],
        ["127.0.0.1:4000", host],
        ...changes,
      ]);
      await writeFile(path(folder, "haproxy.cfg"), text);
    },
    reload: (proxy) => proxy.kill("SIGUSR2"),
  },
  caddy: {
    keeps: false,
    command: (folder) => ["caddy", "run", "--config", path(folder, "Caddyfile"), "--adapter", "caddyfile"],
    async configure({ folder, http, https, admin, host, cert, key, changes }) {
      const site = await configuration("Caddyfile", [
        ["chat.example.com {", `https://localhost:${https} {\n\tbind 127.0.0.1\n\ttls ${cert} ${key}`],
        ["127.0.0.1:4000", host],
        ...changes,
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

/** Starts a proxy in front of a host. `changes` are those of its configuration, as pairs of texts. */
async function start(t, name, host, changes = []) {
  const folder = await mkdtemp(path(tmpdir(), "bennu-proxy-"));
  const [http, https, admin] = [await freePort(), await freePort(), await freePort()];
  const { cert, key } = certificate(folder);
  const setup = { folder, http, https, admin, host: new URL(host.url).host, cert, key, changes };
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
  return {
    url: `wss://localhost:${https}/socket`,
    https,
    ca,
    /** Renews the certificate, and makes the proxy read it. Returns the new one, once new connections get it. */
    async renew() {
      certificate(folder);
      await proxies[name].configure(setup);
      await proxies[name].reload(child, setup);
      const renewed = await readFile(cert);
      await until(`${name} has the new certificate`, async () => (await status(https, renewed, "/api")) === 404);
      return renewed;
    },
  };
}

/** The status of a GET through the proxy, or 0 if there is no answer. `from` is the client's own address. */
function status(port, ca, target, headers = {}, from = "127.0.0.1") {
  return new Promise((resolve) => {
    const named = { host: "127.0.0.1", servername: "localhost", headers: { host: `localhost:${port}`, ...headers } };
    const asked = request({ ...named, localAddress: from, port, path: target, ca, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    // The client is connected. A test that expects this closes the connection at once.
    asked.on("upgrade", (answer, socket) => {
      socket.destroy();
      resolve(answer.statusCode);
    });
    asked.on("error", () => resolve(0));
    asked.end();
  });
}

/** A WebSocket that trusts the test's certificate. The options have the origin of a page, for example. */
function trusting(ca, options) {
  return class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { ca, ...options });
    }
  };
}

/** The head of a request for a WebSocket. */
const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw==" };

for (const name of Object.keys(proxies)) {
  test(`channels work through ${name}`, async (t) => {
    const host = await startHost(t, { plugins: ["echo"], config: "" });
    const proxy = await start(t, name, host);
    const behind = { socketUrl: proxy.url };

    // `check_origin = true` compares the page's origin with `Host`, which the proxy must pass on.
    const page = { transport: trusting(proxy.ca, { origin: `https://localhost:${proxy.https}` }) };
    const alice = await join(connect(t, behind, page), "echo:1");
    assert.deepEqual((await alice.push("echo", { a: [1, null] })).response, { a: [1, null] });
    assert.equal(await status(proxy.https, proxy.ca, "/socket/websocket?vsn=2.0.0", { ...upgrade, origin: "https://evil.example" }), 403);

    // Long-poll, whose client uses `fetch` or XMLHttpRequest: Node's trusts the certificate by NODE_EXTRA_CA_CERTS only.
    const poller = await pollThrough(t, proxy);
    poller.send("shout", { from: "poller" });
    assert.deepEqual(await alice.next("shout"), { from: "poller" });

    // The API isn't reachable from outside, with any spelling that the host would accept.
    for (const target of ["/api", "/api/", "/api/inspect", "/api/topics?x=/socket", "/metrics"]) {
      assert.equal(await status(proxy.https, proxy.ca, target, { authorization: "Bearer x" }), 404, target);
    }

    // A reload of the proxy with another certificate. If the proxy closes the connection, the client comes back.
    const renewed = await proxy.renew();
    alice.channel.socket.transport = trusting(renewed, { origin: `https://localhost:${proxy.https}` });
    const bob = await join(connect(t, behind, { transport: alice.channel.socket.transport }), "echo:1");
    await until("alice is joined", async () => (await alice.push("echo", {}, 1000)).status === "ok");
    if (proxies[name].keeps) assert.equal(alice.joins, 1, "the connection was kept");
    bob.send("shout", { from: "bob" });
    assert.deepEqual(await alice.next("shout"), { from: "bob" });
    // Before the host ends: the client would poll on, and log the proxy's errors.
    poller.channel.socket.disconnect();
    t.diagnostic(`${name}: the client joined ${alice.joins} times`);
  });
}

/** Each way in which a proxy says whose client it is, with the changes of its configuration, if it is another one than in deploy/. */
const ways = [
  ["nginx", "x-forwarded-for", []],
  ["nginx", "forwarded", [["X-Forwarded-For   $remote_addr;", 'Forwarded "for=$remote_addr";']]],
  ["haproxy", "x-forwarded-for", []],
  ["haproxy", "proxy-protocol", [["    server host", "    default-server send-proxy-v2\n    server host"]]],
  ["caddy", "x-forwarded-for", []],
];

for (const [name, way, changes] of ways) {
  test(`the host knows a client's address behind ${name}, by ${way}`, async (t) => {
    const limit = "[limits.address]\nconnections = 1\n";
    const config = `trusted_proxies = ["127.0.0.1"]\nclient_address = "${way}"\n${limit}`;
    const host = await startHost(t, { plugins: ["echo"], config });
    const proxy = await start(t, name, host, changes);
    // A client can't choose its address: not by a header that the proxy writes, and not by one that it passes on.
    const lies = { "x-forwarded-for": "203.0.113.7", forwarded: "for=203.0.113.7", "x-real-ip": "203.0.113.7" };
    const from = (address) => connect(t, { socketUrl: proxy.url }, { transport: trusting(proxy.ca, { localAddress: address, headers: lies }) });
    const target = (path) => `/socket/${path}?vsn=2.0.0`;
    await join(from("127.0.0.2"), "echo:1");
    await join(from("127.0.0.3"), "echo:1");
    for (const address of ["127.0.0.2", "127.0.0.3"]) {
      assert.equal(await status(proxy.https, proxy.ca, target("websocket"), { ...upgrade, ...lies }, address), 429, address);
    }
    assert.equal(await status(proxy.https, proxy.ca, target("websocket"), { ...upgrade, ...lies }, "127.0.0.4"), 101, "another address");
    // The log has the client's address, and not that of the proxy.
    const foreign = { ...upgrade, ...lies, origin: "https://evil.example" };
    assert.equal(await status(proxy.https, proxy.ca, target("websocket"), foreign, "127.0.0.5"), 403);
    await until("the log has the client's address", () => /reason="?origin"?.*peer="?127\.0\.0\.5:|peer="?127\.0\.0\.5:.*reason="?origin/.test(host.log));
    assert.ok(!host.log.includes("203.0.113.7"), host.log);
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
