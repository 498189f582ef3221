#!/usr/bin/env node
// Starts the executable `bennu`. The executable is in the package of this platform, which npm installs as an optional
// dependency.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import process from "node:process";

const platform = `${process.platform}-${process.arch}`;
const name = `bennu-server-${platform}`;

function executable() {
  try {
    return createRequire(import.meta.url).resolve(`${name}/bennu${process.platform === "win32" ? ".exe" : ""}`);
  } catch {
    console.error(
      `bennu: the package ${name} isn't installed. Either npm was told to leave out optional dependencies, or there is ` +
        `no executable for ${platform}. With Rust, \`cargo install --path host\` in a checkout of Bennu's repository builds one.`,
    );
    process.exit(1);
  }
}

const bennu = spawn(executable(), process.argv.slice(2), { stdio: "inherit" });

// A terminal sends Ctrl-C to both processes, so only this one must be kept from ending first. Other signals reach only
// this process.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP", "SIGQUIT"]) {
  process.on(signal, () => bennu.kill(signal));
}
bennu.on("error", (error) => {
  console.error(`bennu: the executable can't be started: ${error.message}`);
  process.exit(1);
});
bennu.on("exit", (code, signal) => {
  if (signal === null) {
    process.exit(code);
  }
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
