// Checks types with the compiler of TypeScript.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const compiler = join(import.meta.dirname, "node_modules", "typescript", "bin", "tsc");

/** Checks the types of a project. Throws an error with the compiler's messages. */
export async function checkTypes(folder) {
  try {
    await promisify(execFile)(process.execPath, [compiler, "--project", folder]);
  } catch (error) {
    throw new Error(error.stdout || error.message);
  }
}
