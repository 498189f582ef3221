// Makes elements. Names of users are inserted as text, never as HTML.

export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== "") element.textContent = text;
  return element;
}

/** The first letter of a name, also if it consists of two UTF-16 units. */
export const initial = (name) => [...name][0]?.toUpperCase() ?? "";

/** The colour of a name, as in the chat. */
export function hue(name) {
  let hash = 0;
  for (const letter of name) hash = Math.imul(hash ^ letter.codePointAt(0), 0x9e3779b1);
  return (hash >>> 8) % 360;
}

/** Sets a text only if it differs: a screen reader reads each text that is set. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
