// The orders' example: a web application in Node, its page, and Bennu between them, in a real browser. Either side is restarted, and an
// answer of Bennu's API is lost.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";

import { freePort, pages, startHost, until } from "../host.mjs";
import { desktop, openWindow, picture, startBrowser } from "./window.mjs";

const example = resolve(import.meta.dirname, "../../guest-examples/orders");
const secrets = { SESSION_SECRET: randomBytes(32).toString("hex"), WEBHOOK_SECRET: `whsec_${randomBytes(32).toString("base64")}` };

/** Stands between the application and Bennu. It can lose an answer to a message. */
class Between {
  /** How many answers to messages it still loses. */
  losing = 0;
  #server;

  constructor(test, target) {
    this.#server = createServer((client) => {
      const bennu = connect(Number(new URL(target).port), "127.0.0.1");
      let isSend = false;
      client.on("data", (bytes) => {
        // The body of a request may come by itself.
        const method = /^(GET|POST) (\S+) HTTP/.exec(bytes.toString("latin1"));
        if (method) isSend = method[2] === "/api/send";
        bennu.write(bytes);
      });
      bennu.on("data", (bytes) => {
        if (!isSend || this.losing === 0) return client.write(bytes);
        this.losing -= 1;
        client.destroy();
      });
      for (const [one, other] of [[client, bennu], [bennu, client]]) one.on("error", () => {}).on("close", () => other.destroy());
    });
    test.after(() => this.#server.close());
  }

  async url() {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
    return `http://localhost:${this.#server.address().port}`;
  }
}

/** The web application. A restart keeps its port and its data. */
class Application {
  #variables;
  #process;

  constructor(test, variables) {
    this.#variables = variables;
    this.url = `http://localhost:${variables.PORT}`;
    test.after(() => this.kill());
  }

  async start() {
    const variables = { ...process.env, ...this.#variables };
    this.#process = spawn(process.execPath, [join(example, "app.mjs")], { env: variables, stdio: ["ignore", "pipe", "inherit"] });
    for await (const line of this.#process.stdout) if (String(line).includes("Listening")) break;
  }

  async kill() {
    if (this.#process?.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }
}

test("an order comes to the page, and its acknowledgement to the application, although both are restarted and an answer is lost", async (t) => {
  const port = await freePort();
  const url = `http://localhost:${port}`;
  // The example's own configuration, with other ports and without its list of files.
  const shown = await readFile(join(example, "bennu.toml"), "utf8");
  const config = shown.replaceAll("http://localhost:3000", url).replace(/^load = .*$/m, "");
  process.env.WEBHOOK_SECRET = secrets.WEBHOOK_SECRET;
  const host = await startHost(t, { plugins: ["orders.ts", "session-gate"], config });
  const folder = await mkdtemp(join(tmpdir(), "bennu-orders-"));
  t.after(() => rm(folder, { recursive: true }));
  const DATA = join(folder, "orders.json");
  const between = new Between(t, host.url);
  const bennu = await between.url();
  const key = await host.apiKey();
  const application = new Application(t, { ...secrets, PORT: port, BENNU: bennu, BENNU_API_KEY: key, DATA, PAGES: join(pages, "orders") });
  await application.start();
  const acknowledged = async () => Object.values(JSON.parse(await readFile(DATA, "utf8")).orders).map((order) => order.acknowledged);

  const browser = await startBrowser(t);
  const page = await openWindow(browser, url, { ...desktop, colorScheme: "light" });
  await page.getByLabel("Your name").fill("ada");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("Connected as ada").waitFor();
  const order = async (dish) => {
    await page.getByLabel("Dish").fill(dish);
    await page.getByRole("button", { name: "Order" }).click();
    await until("the application has the order", async () => (await page.getByLabel("Dish").inputValue()) === "");
  };
  const item = (dish) => page.locator("li", { hasText: dish });
  await order("Soup");
  await item("Soup").waitFor();
  await picture(page, "orders-placed");

  // The application is down when the customer acknowledges. Bennu keeps the webhook, also over its own restart.
  await application.kill();
  await item("Soup").getByRole("button", { name: "Got it" }).click();
  await item("Soup").getByText("received").waitFor();
  await host.kill();
  await host.start();
  await application.start();
  await until("the webhook has arrived", async () => (await acknowledged()).join() === "1");
  await page.getByText("Connected as ada").waitFor();
  await item("Soup").getByText("received").waitFor();

  // Bennu is down when the customer orders. The application keeps the order, and sends it later.
  await host.kill();
  await order("Bread");
  await until("the order is stored", async () => (await acknowledged()).length === 2);
  await host.start();
  await item("Bread").getByRole("button", { name: "Got it" }).click();
  await until("both are acknowledged once", async () => (await acknowledged()).join() === "1,1");
  assert.equal(await page.locator("li").count(), 2);
  await picture(page, "orders-received");

  // The answer to an order is lost, so the application sends the order again. It is there once.
  between.losing = 1;
  await order("Tea");
  await until("the application knows that Bennu has the order", async () => {
    const { orders } = JSON.parse(await readFile(DATA, "utf8"));
    return Object.values(orders).every((order) => order.told);
  });
  assert.equal(between.losing, 0);
  await item("Tea").waitFor();
  assert.equal(await page.locator("li").count(), 3);

  // Somebody without a session isn't let in, and a webhook without a signature isn't believed.
  const stranger = await openWindow(browser, url, desktop);
  assert.equal(await stranger.getByLabel("Your name").isVisible(), true);
  const forged = await fetch(`${url}/hooks`, { method: "POST", body: '{"data":{"id":"x"}}' });
  assert.equal(forged.status, 401);
});
