// New projects, as a person makes them who has only the executable: their types, their tests, and the official client.

import assert from "node:assert/strict";
import { cp, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join as path } from "node:path";
import { test } from "node:test";

import { until } from "../host.mjs";
import { newProject } from "../project.mjs";
import { LANGUAGES, live } from "../project_life.mjs";
import { onlyInFull } from "../rounds.mjs";
import { USES } from "../templates.mjs";
import { checkTypes } from "../types.mjs";
import { connect, join } from "./client.mjs";

const installed = path(import.meta.dirname, "../node_modules");

for (const [template, use] of Object.entries(USES)) {
  for (const lang of ["ts", "js"]) {
    test(`the template ${template} in ${lang} passes its own tests and serves the official client`, async (t) => {
      const project = await newProject(t, { lang, template });
      assert.match(project.printed, /\n {2}cd app\n {2}bennu dev\n$/, "it ends with the next two commands");
      const passed = await project.nativeTests();
      assert.match(passed, /# pass [23]\n# fail 0/);
      assert.equal(await project.bennu("test", project.source, "tests/app.script"), "ok      tests/app.script\n");
      if (lang === "ts") await checkAllTypes(project);
      await use(t, await project.serve(t));
    });
  }
}

/** Checks the types of the plugin and of its tests, as `npm run check` does. */
async function checkAllTypes({ folder }) {
  await checkTypes(folder);
  await mkdir(path(folder, "node_modules"));
  await symlink(path(installed, "@types"), path(folder, "node_modules", "@types"), "junction");
  await symlink(path(installed, "undici-types"), path(folder, "node_modules", "undici-types"), "junction");
  await checkTypes(path(folder, "tests"));
}

const ASKS = `import { channel, http, plugin } from "bennu";

export default plugin({ "asks:*": channel({
  on: {
    get: ({ url }: { url: string }) => http.get(url).json(),
    order: (payload: object) => http.request("ordered", "https://a.example/orders", { json: payload }),
  },
  info: { ordered: ({ status, failure }: any, socket) => socket.push("ordered", { status, failure }) },
}) });
`;

const ASKS_TEST = `import assert from "node:assert/strict";
import { test } from "node:test";
import { stage } from "bennu/testing";
import plugin from "../plugins/app.ts";

test("it asks", () => {
  const host = stage(plugin), ada = host.join("asks:1");
  host.http("GET", "https://a.example/7", { json: { name: "Ada ü" } });
  ada.push("get", { url: "https://a.example/7" });
  assert.deepEqual(ada.assertReply(), { name: "Ada ü" });
  ada.push("get", { url: "https://a.example/8" });
  ada.assertReply("error", { reason: "unavailable" });
  host.http("POST", "https://a.example/orders", { status: 201 });
  ada.push("order", { id: 7 });
  ada.assertPush("ordered", { status: 201 });
  host.http("POST", "https://a.example/orders", { failure: "timeout" });
  ada.push("order", { id: 8 });
  ada.assertPush("ordered", { failure: "timeout" });
  assert.deepEqual(host.faults, []);
});
`;

test("a native test answers the requests by HTTP of a plugin", async (t) => {
  const project = await newProject(t);
  await project.edit(() => ASKS);
  await writeFile(path(project.folder, "tests/app.test.ts"), ASKS_TEST);
  assert.match(await project.nativeTests(), /# pass 1/);
  await checkAllTypes(project);
});

test("a project in TypeScript is made, tested and served, and its code changes under the official client", async (t) => {
  await live(t, await newProject(t), LANGUAGES.ts);
});

test("`bennu types` gives any folder the types, and `bennu wit` the contract", async (t) => {
  const project = await newProject(t);
  await mkdir(path(project.folder, "other"));
  await cp(path(project.folder, project.source), path(project.folder, "other", "chat.ts"));
  assert.match(await project.bennu("types", "other"), /Wrote other\/tsconfig\.json/);
  await checkTypes(path(project.folder, "other"));
  assert.match(await project.bennu("types", "other"), /tsconfig\.json stays as it is/);

  await project.bennu("wit", "contract");
  assert.match(await project.read("contract/world.wit"), /world plugin \{/);
  assert.match(await project.bennu("wit"), /^\/\/ channel\.wit\n/);
});

test("nothing is overwritten, and a name that can't be one is refused", async (t) => {
  const project = await newProject(t);
  const refused = (name, why) => assert.rejects(project.bennu("new", name), ({ code, stderr }) => code === 1 && why.test(stderr));
  await refused("plugins", /plugins isn't empty; choose another name/);
  await refused("My App", /use lower-case letters, digits/);
  await refused("..", /name of a folder/);
});

test("a project in Rust is made, built, tested and served, and its code changes under the official client", async (t) => {
  const project = await newProject(t, { lang: "rust" });
  await t.test("the template passes its own tests, and serves the official client", async (t) => {
    assert.match(await project.bennu("test"), /\nok {6}\S*cargo test --quiet\nok {6}tests\/app\.script\n2 passed\n$/);
    await USES.chat(t, await project.serve(t));
  });
  // Otherwise the host would compare the builds of the next test with the template's.
  await rm(path(project.folder, "data"), { recursive: true });
  const { host, ada } = await live(t, project, LANGUAGES.rust);
  // What the host refuses has a place, too, because the build has the lines of the source. The first build serves at the end.
  const first = await readFile(path(import.meta.dirname, "../languages/rust/lib.rs"), "utf8");
  const line = first.split("\n").findIndex((text) => text.includes("json!([1])")) + 1;
  await until("the member has joined again", () => ada.joins === 2);
  ada.send("list");
  const place = new RegExp(`must be a JSON object or binary.* \\(src/lib\\.rs:${line}\\)`);
  await until("the fault is in the log", () => place.test(host.log));
});

// The test above has the template of a chat.
for (const template of Object.keys(USES).filter((template) => template !== "chat")) {
  const options = { skip: onlyInFull("projects::templates_in_rust") };
  test(`the template ${template} in Rust passes its own tests and serves the official client`, options, async (t) => {
    const project = await newProject(t, { lang: "rust", template });
    assert.match(await project.bennu("test"), /\nok {6}\S*cargo test --quiet\nok {6}tests\/app\.script\n2 passed\n$/);
    await USES[template](t, await project.serve(t));
  });
}
