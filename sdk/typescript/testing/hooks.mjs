// Where Node finds the modules of the SDK, and how an older Node reads TypeScript.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isScript } from "./script.mjs";

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
  const isTyped = url.endsWith(".ts") && (!process.features.typescript || url.includes("/node_modules/"));
  const loaded = isTyped ? module(withoutTypes(fileURLToPath(url))) : await next(url, context);
  if (!loaded.format?.startsWith("module") || !loaded.source) return loaded;
  const text = typeof loaded.source === "string" ? loaded.source : Buffer.from(loaded.source).toString();
  return isScript(text) ? { ...loaded, source: evaluated(text) } : loaded;
}

/** Makes the evaluation of a script that of the engine. Each line keeps its number. */
function evaluated(text) {
  const imported = `import { evaluating as bennuEvaluating } from ${JSON.stringify(at("globals.ts"))};`;
  return `${imported} const bennuEvaluated = bennuEvaluating(); ${text}\n;bennuEvaluated();`;
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
