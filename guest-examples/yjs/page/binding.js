// Binds a textarea to a text of Yjs: what a person writes becomes a change of the text, and the other way round. The
// selection stays at the same characters.

import { createAbsolutePositionFromRelativePosition, createRelativePositionFromTypeIndex } from "yjs";

/** The part of a text that is different in another one: `[start, deleted, inserted]`. */
export function difference(before, after) {
  const most = Math.min(before.length, after.length);
  let start = 0, end = 0;
  while (start < most && before[start] === after[start]) start++;
  while (end < most - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  // Half of a character can't be inserted.
  if (start > 0 && isFirstHalf(before.charCodeAt(start - 1))) start--;
  if (end > 0 && isSecondHalf(after.charCodeAt(after.length - end))) end--;
  return [start, before.length - end - start, after.slice(start, after.length - end)];
}

const isFirstHalf = (unit) => unit >= 0xd800 && unit < 0xdc00;
const isSecondHalf = (unit) => unit >= 0xdc00 && unit < 0xe000;

/** Returns a function that ends the binding. */
export function bind(field, text) {
  const { doc } = text;
  const write = () => {
    const [start, deleted, inserted] = difference(text.toString(), field.value);
    doc.transact(() => {
      if (deleted) text.delete(start, deleted);
      if (inserted) text.insert(start, inserted);
    }, field);
  };
  let selection = [];
  const remember = () => {
    selection = [field.selectionStart, field.selectionEnd].map((at) => createRelativePositionFromTypeIndex(text, at));
  };
  const show = (_, { origin }) => {
    if (origin === field) return;
    const { scrollTop, selectionDirection } = field;
    field.value = text.toString();
    const [start, end] = selection.map((at) => createAbsolutePositionFromRelativePosition(at, doc)?.index ?? 0);
    field.setSelectionRange(start, end, selectionDirection);
    field.scrollTop = scrollTop;
  };
  field.value = text.toString();
  field.addEventListener("input", write);
  // Before each change, because afterwards the field's own positions are those of an older text.
  doc.on("beforeTransaction", remember);
  text.observe(show);
  return () => {
    field.removeEventListener("input", write);
    doc.off("beforeTransaction", remember);
    text.unobserve(show);
  };
}
