// The clients that Node can't run by itself, where `cargo xtask test clients` puts them.

import { join, resolve } from "node:path";

const clients = process.env.BENNU_CLIENTS ?? resolve(import.meta.dirname, "../../target/clients");
const windows = process.platform === "win32";

/** What to start for the Python client `name`. */
export const python = (name) => [
  join(clients, "python", windows ? "Scripts/python.exe" : "bin/python"),
  join(import.meta.dirname, "python", `${name}.py`),
];

/** What to start for the client in `rust/`. */
export const rust = () => [join(clients, "rust", "debug", windows ? "rust-client.exe" : "rust-client")];
