// Elements of the page. Every text becomes a text node: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element. A string among the children becomes a text node, and an empty value is left out.
 *
 * @param {string} tag
 * @param {Record<string, unknown>} attributes `on` has the listeners by event, and a value of false or null is left out
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Makes an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, { on = {}, ...attributes }, children) {
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

/** Sets or removes an attribute, if it isn't so already. */
export function set(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value === true ? "" : value)) element.setAttribute(name, value === true ? "" : value);
}

/** Sets the text of an element, if it is another one. So a selection in it stays. */
export function say(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

/**
 * Shows a list in the children of an element. The element of an item that was there before is kept, with its focus.
 *
 * @param {Element} parent
 * @param {Iterable<T>} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => Element & {update?: (item: T) => void}} make its `update` is called at once, and with each later state
 * @template T
 */
export function list(parent, items, keyOf, make) {
  const known = new Map([...parent.children].map((child) => [child.listKey, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = known.get(key);
    if (!element) {
      element = make(item);
      element.listKey = key;
    }
    known.delete(key);
    element.update?.(item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const gone of known.values()) gone.remove();
}

/** Makes a table with a head, whose rows are made by {@link list}. On a phone, a table that `stacks` has a line for each cell. */
export function table(label, columns, stacks = false) {
  const heads = columns.map(([name, kind]) => h("th", { scope: "col", class: kind }, name));
  const body = h("tbody");
  const element = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, h("table", { class: stacks && "stacks" }, h("thead", {}, h("tr", {}, heads)), body));
  return { element, body };
}

/** Makes a row of cells. `contents` gives their content for an item: texts, or elements that stay. `labels` are for a table that
 * stacks. */
export function row(kinds, contents, labels = []) {
  const cells = kinds.map((kind, at) => h("td", { class: kind, "data-label": labels[at] }));
  const element = h("tr", {}, cells);
  element.update = (item) => {
    for (const [at, content] of contents(item).entries()) {
      if (content instanceof Element) {
        if (cells[at].firstChild !== content) cells[at].replaceChildren(content);
      } else say(cells[at], content ?? "");
    }
  };
  return element;
}

/** Makes a card with a title. */
export function card(title, attributes, ...children) {
  return h("section", { ...attributes, class: `card ${attributes?.class ?? ""}` }, h("h2", {}, title), children);
}

/** Makes a labelled field. */
export function field(label, control, hint) {
  return h("label", { class: "field" }, h("span", {}, label), control, hint && h("small", {}, hint));
}

/** Makes the sentence that stands for an empty list. */
export function empty(text) {
  return h("p", { class: "empty" }, text);
}

/** Makes a word with a colour: `good`, `warn`, `bad` or none. */
export function badge(text, kind = "") {
  return h("span", { class: `badge ${kind}` }, text);
}
