// The clients that aren't Node programs, in the directory where `cargo xtask test clients` installs them.

import { join, resolve } from "node:path";

const clients = process.env.BENNU_CLIENTS ?? resolve(import.meta.dirname, "../../target/clients");
const windows = process.platform === "win32";

/** The command of the Python client `name`. */
export const python = (name) => [
  join(clients, "python", windows ? "Scripts/python.exe" : "bin/python"),
  join(import.meta.dirname, "python", `${name}.py`),
];

/** The command of the client in `rust/`. */
export const rust = () => [join(clients, "rust", "debug", windows ? "rust-client.exe" : "rust-client")];
