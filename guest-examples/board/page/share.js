// The links to a board.

const $ = (id) => document.getElementById(id);
/** How long a button says that its link was copied, in milliseconds. */
const COPIED = 2_000;

/** Asks for links and shows them. A spectator has only its own link. Returns the reason if there are none. */
export async function openLinks(session, id, role) {
  const link = (role, token) => `${location.origin}${location.pathname}#${id}/${role}/${token}`;
  if (session.me.role === "look") {
    $("look-link").value = location.href;
  } else {
    const { answer, reason } = await session.ask("links");
    if (!answer) return reason;
    for (const role of ["draw", "look"]) $(`${role}-link`).value = link(role, answer[role]);
  }
  $("draw-link").closest(".link").hidden = role === "look";
  $("links").showModal();
  return undefined;
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const field = $(button.dataset.copy);
    const copied = await navigator.clipboard?.writeText(field.value).then(() => true, () => false);
    // If the browser doesn't allow copying, the user can copy the selected text.
    if (!copied) field.select();
    button.textContent = copied ? "Copied" : "Selected";
    setTimeout(() => (button.textContent = "Copy"), COPIED);
  });
}

/** A reason as a sentence. */
export function sentence(words) {
  const text = words.trim() || "the server gave no reason";
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
