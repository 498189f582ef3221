// Projects in Go, as a person makes them who has the executable and Go.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join as path } from "node:path";
import { test } from "node:test";

import { WebSocket } from "ws";

import { until } from "../host.mjs";
import { connect, join } from "../phoenix/client.mjs";
import { newProject } from "../project.mjs";
import { LANGUAGES, live } from "../project_life.mjs";
import { USES } from "../templates.mjs";

test("a project in Go is made, built, tested and served, and its code changes under the official client", async (t) => {
  const project = await newProject(t, { lang: "go" });
  await live(t, project, LANGUAGES.go);
  assert.match(await project.bennu("check", "build/app.wasm"), /made with Go 1\.\d+\S*, bennu for Go 0\.\d+\.\d+/);
});

for (const [template, use] of Object.entries(USES)) {
  test(`the template ${template} in Go passes its own tests and serves the official client`, async (t) => {
    const project = await newProject(t, { lang: "go", template });
    assert.match(await project.bennu("test"), /\nok {6}go test \.\/\.\.\.\nok {6}tests\/app\.script\n2 passed\n$/);
    await use(t, await project.serve(t));
  });
}

test("`bennu dev` builds a project in Go on each save, and a build that fails leaves the last one running", async (t) => {
  const project = await newProject(t, { lang: "go" });
  const host = await project.develop(t);
  const ada = await join(connect(t, host), "room:lobby", { user: "Ada" });
  const says = async () => {
    await ada.push("new_msg", { body: "hi" });
    return (await ada.next("new_msg")).body;
  };
  assert.equal(await says(), "hi");
  await project.edit((text) => text.replace('"body": body}', '"body": body + shout()}'));
  await until("the error of the compiler is shown", () => host.log.includes("main.go:") && host.log.includes("undefined: shout"));
  assert.equal(await says(), "hi");
  // A new file of the package is a source, too.
  await project.write("shout.go", 'package main\n\nfunc shout() string { return "!" }\n');
  await until("the new build answers", async () => (await says()) === "hi!");
  assert.equal(ada.joins, 1, "nobody had to join again");
});

test("mistakes that would go unnoticed are refused when the plugin is built", async (t) => {
  const project = await newProject(t, { lang: "go" });
  const build = (change) => project.edit(change).then(() => project.bennu("build").then(() => "", ({ stderr }) => stderr));
  const original = await project.read("main.go");
  assert.match(await build((text) => text.replace("User string", "user string").replaceAll("c.User", "c.user")),
    /the host can't keep the field user of main\.Chat: begin its name with an upper-case letter/);
  assert.match(await build(() => original.replace("_ bennu.Ending) {", "_ string) {")),
    /the method Terminate of main\.Chat has a different signature from that of bennu\.Terminator/);
  assert.match(await build(() => original.replace("return nil, nil", "return nil")), /main\.go:\d+:\d+: not enough return values/);
});

const GATE = `package main

import (
	"bennu.dev/bennu/gate"
	"bennu.dev/bennu/store"
	"bennu.dev/bennu/token"
)

func init() {
	gate.Serve(func(request *gate.Request) (gate.Identity, error) {
		if request.Param("token") == "" {
			return gate.Identity{}, gate.Forbid(401, "a token is missing")
		}
		if _, is := store.Get[bool]("closed"); is || request.Header("host") == "" || request.Mount() != "/socket" {
			panic("closed")
		}
		user, err := token.Verify[string]("user socket", request.Param("token"))
		claims := map[string]any{"path": request.Location().Path, "ip": request.Peer().IP, "how": request.Transport()}
		return gate.Identity{User: user, SocketID: "user_socket:" + user, Claims: claims}, err
	})
}

func main() {}
`;

const WHO = `package main

import "bennu.dev/bennu"

type Member struct{}

func init() { bennu.Serve[Member, bennu.None]("who") }

func (*Member) Join(socket *bennu.Socket[bennu.None], _ bennu.Payload) (any, error) {
	var claims map[string]any
	err := socket.Claims(&claims)
	return bennu.M{"user": socket.User(), "id": socket.SocketID(), "claims": claims}, err
}

func (*Member) HandleIn(_ *bennu.Socket[bennu.None], event string, _ bennu.Payload) (any, error) {
	return bennu.UnknownEvent(event)
}

func main() {}
`;

test("a gatekeeper in Go decides about connections", async (t) => {
  const project = await newProject(t, { lang: "go" });
  await project.edit(() => WHO);
  await project.write("gate/main.go", GATE);
  await project.write("secret.txt", "s".repeat(64));
  await project.write("bennu.toml", `load = ["build"]
secret_key_base = { file = "secret.txt" }
[build.app]
[build.gate]
source = "gate"
`);
  assert.match(await project.bennu("build"), /build\/gate\.wasm {2}\d\.\d MB {2}gatekeeper/);
  const host = await project.serve(t);
  const refused = (params) => new Promise((resolve, reject) => {
    const socket = new WebSocket(`${host.socketUrl}/websocket?vsn=2.0.0${params}`);
    socket.on("open", () => reject(new Error("it may connect")));
    socket.on("error", reject);
    socket.on("unexpected-response", async (_, response) => {
      const body = await response.toArray();
      resolve([response.statusCode, Buffer.concat(body).toString()]);
    });
  });
  assert.deepEqual(await refused(""), [401, "a token is missing"]);
  assert.deepEqual(await refused("&token=x"), [403, ""]);
  const signed = (await host.bennu("token", "sign", "--salt", "user socket", "--secret-file", "secret.txt", '"ada"')).trim();
  const channel = connect(t, host, { params: { token: signed } }).channel("who");
  const response = await new Promise((resolve, reject) => channel.join().receive("ok", resolve).receive("error", reject));
  assert.deepEqual(response, { user: "ada", id: "user_socket:ada",
    claims: { path: "/socket/websocket", ip: "127.0.0.1", how: "websocket" } });
});

test("a machine without Go and a project without the SDK say what is missing", async (t) => {
  const project = await newProject(t, { lang: "go" });
  const fails = () => project.bennu("build").then(() => "", ({ stderr }) => stderr);
  project.env = { ...process.env, PATH: project.folder };
  assert.match(await fails(), /app: Go isn't installed: version 1\.25 or later is needed\. https:\/\/go\.dev\/dl has it/);
  project.env = process.env;
  await rm(path(project.folder, "sdk"), { recursive: true });
  assert.match(await fails(), /app: the SDK isn't in the project: `bennu types --lang go` writes it to sdk\/bennu/);
  assert.match(await project.bennu("types"), /Wrote the SDK to \.\/sdk\/bennu\. .*\n\n {2}require bennu\.dev\/bennu v0\.1\.0/);
  assert.equal(await fails(), "");
});
