// Which modules are scripts. A word in a comment or a text makes none, so the comments and texts of a module are found first.

/** The words after which a slash begins a regular expression, and isn't a division. */
const OPERATORS = ["await", "case", "delete", "do", "else", "in", "instanceof", "new", "of", "return", "throw", "typeof", "void", "yield"];

/** The words after whose parentheses a statement begins. */
const CONDITIONS = ["for", "if", "while", "with"];

const COMMENT = /\/\/[^\n\r]*|\/\*[^]*?(?:\*\/|$)/y;
const STRING = /"(?:\\[^]|[^"\\\n\r])*"?|'(?:\\[^]|[^'\\\n\r])*'?/y;
/** A template up to its end, or up to the next expression in it. */
const TEMPLATE = /(?:\\[^]|\$(?!\{)|[^`\\$])*(?:`|\$\{|$)/y;
const REGULAR = /\/(?:\\.|\[(?:\\.|[^\]\\\n\r])*\]|[^/[\\\n\r])+\/[a-z]*/y;
const WORD = /[\p{ID_Continue}$]+/uy;

/**
 * The code of a module in JavaScript or TypeScript without its comments. A text that can't be a module's name is empty. All texts are in
 * double quotes.
 */
function codeOf(text) {
  let code = "", at = 0, last = "";
  // What each open parenthesis or brace is.
  const open = [];
  function take(token) {
    token.lastIndex = at;
    const [found] = token.exec(text) ?? [""];
    at += found.length;
    return found;
  }
  /** `is` is what a slash that follows depends on: a value, or anything else. */
  function put(token, is = token) {
    code += token;
    last = is;
  }
  function template() {
    if (!take(TEMPLATE).endsWith("${")) return put('""', "value");
    open.push("template");
    put("(");
  }
  function mark(character) {
    at += 1;
    if (character === "`") return template();
    if (character === "(" || character === "{") open.push(CONDITIONS.includes(last) ? "condition" : "");
    const closed = character === ")" || character === "}" ? open.pop() : "";
    if (character === "}" && closed === "template") return put(")"), template();
    const isValue = character === "]" || (character === ")" && closed !== "condition") || (/[+-]/.test(character) && last === character);
    put(character, isValue ? "value" : character);
  }
  while (at < text.length) {
    const character = text[at];
    if (character === '"' || character === "'") {
      const string = take(STRING).slice(1, -1);
      put(/^[\w:/.@-]*$/.test(string) ? `"${string}"` : '""', "value");
    } else if (character === "/" && take(COMMENT)) code += " ";
    else if (character === "/" && last !== "value" && take(REGULAR)) put('""', "value");
    else if (/\s/.test(character)) code += text[at++];
    else {
      const word = take(WORD), isKeyword = last !== "." && (OPERATORS.includes(word) || CONDITIONS.includes(word));
      if (word) put(word, isKeyword ? word : "value");
      else mark(character);
    }
  }
  return code;
}

const LETTER = String.raw`[\p{ID_Continue}$]`;

/** An import or export of what the SDK has: whether it is of types only, the default import, the list of names, and `*`. */
const OF_SDK = new RegExp([
  String.raw`(?<!\.|${LETTER})(?:import|export)(?!${LETTER})\s*(type\s+(?!from\b|,))?(${LETTER}+\s*,?)?\s*`,
  String.raw`(?:\{([^{}]*)\}|(\*)\s*(?:as\s+${LETTER}+\s*)?)?\s*from\s*"bennu"`,
].join(""), "gu");

/** A default export. */
const DEFAULT = /(?<![.\p{ID_Continue}$])export(?![\p{ID_Continue}$])\s*(?:default(?![\p{ID_Continue}$])|\{(?:[^{}]*[\s,])?default\s*[,}])/u;

/** An import of the test kit. */
const OF_TESTS = /(?<![.\p{ID_Continue}$])(?:from|import)\s*\(?\s*"bennu\/testing"/u;

/** Whether an import is of a value, and not of types only, which are removed. */
function isOfValue([, type, first, names, all]) {
  const listed = (names ?? "").split(",").map((name) => name.trim()).filter(Boolean);
  return !type && (Boolean(first || all) || listed.some((name) => !/^type\s+(?!as\s+(?!as\s))/.test(name)));
}

/** Whether a module is a script: it uses the SDK, has a default export, and is no test. */
export function isScript(text) {
  if (!/["']bennu["']/.test(text)) return false;
  const code = codeOf(text);
  return DEFAULT.test(code) && !OF_TESTS.test(code) && [...code.matchAll(OF_SDK)].some(isOfValue);
}
