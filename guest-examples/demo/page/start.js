// The start page: shows the available programs, and makes a link for each user of the demo.
//
// It reads programs and users from demo.json, which `cargo xtask demo` writes.

const $ = (id) => document.getElementById(id);

/** A link with a user and its token after the `#`: browsers send that part of an address to no server. */
function person({ user, token }) {
  const name = user.charAt(0).toUpperCase() + user.slice(1);
  const face = document.createElement("span");
  face.className = "face";
  face.setAttribute("aria-hidden", "true");
  face.textContent = name.charAt(0);
  face.style.setProperty("--hue", hue(name));
  const link = document.createElement("a");
  link.className = "go";
  link.href = `notifications/#${new URLSearchParams({ user, token })}`;
  link.target = "_blank";
  link.rel = "noopener";
  link.append(face, name);
  const item = document.createElement("li");
  item.append(link);
  return item;
}

/** The colour of a name, as in the chat. */
function hue(name) {
  let hash = 0;
  for (const letter of name) hash = Math.imul(hash ^ letter.codePointAt(0), 0x9e3779b1);
  return (hash >>> 8) % 360;
}

async function show() {
  const told = await fetch("demo.json").then((answer) => (answer.ok ? answer.json() : undefined)).catch(() => undefined);
  const { programs, people, send } = told ?? { programs: ["chat"], people: [], send: "" };
  for (const section of document.querySelectorAll("[data-program]")) {
    section.hidden = !programs.includes(section.dataset.program);
  }
  $("people").replaceChildren(...people.map(person));
  $("send").textContent = `${send} user:ada notify '{"title": "Hello, Ada", "body": "From a terminal"}'`;
  $("alone").hidden = told !== undefined;
}

// The demo may have restarted since, with other programs.
addEventListener("pageshow", show);
