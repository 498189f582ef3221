// Where Node finds the modules of the SDK, and how an older Node reads TypeScript.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path) => new URL(path, import.meta.url).href;
const MODULES = { bennu: at("../src/index.ts"), "bennu/testing": at("index.ts") };
const CONTRACT = "bennu:channel/";

export async function resolve(specifier, context, next) {
  const url = MODULES[specifier] ?? (specifier.startsWith(CONTRACT) ? specifier : undefined);
  return url ? { url, shortCircuit: true } : next(specifier, context);
}

export async function load(url, context, next) {
  const module = (source) => ({ format: "module", source, shortCircuit: true });
  if (url.startsWith(CONTRACT)) return module(imports(url));
  // Node 22.18 and later remove types themselves, except in installed packages.
  if (url.endsWith(".ts") && (!process.features.typescript || url.includes("/node_modules/"))) {
    return module(withoutTypes(fileURLToPath(url)));
  }
  return next(url, context);
}

function withoutTypes(path) {
  const options = { encoding: "utf8", maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "pipe"] };
  try {
    return execFileSync(process.env.BENNU ?? "bennu", ["kit", "--javascript", path], options);
  } catch (error) {
    const isMissing = error.code === "ENOENT";
    throw new SyntaxError(isMissing ? "`bennu` can't be started; put it on the PATH, or set BENNU to its path" : error.stderr);
  }
}

/** The module of an interface of the contract: the functions that contract.d.ts declares, from contract.ts. */
function imports(url) {
  const declared = readFileSync(new URL("../contract.d.ts", import.meta.url), "utf8");
  const [, body] = declared.split(`declare module "${url}" {`);
  const names = [...body.split("\n}")[0].matchAll(/^ {2}export function (\w+)/gm)].map(([, name]) => name);
  const given = `contract[${JSON.stringify(url.slice(CONTRACT.length).split("@")[0])}]`;
  return `import { contract } from ${JSON.stringify(at("contract.ts"))};
export const { ${names.join(", ")} } = ${given};
const remove = ${given}.delete;
export { remove as delete };`;
}
