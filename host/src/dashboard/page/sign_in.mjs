// The page on which an operator signs in with a key of the API.

import { field, h, say } from "./dom.mjs";
import { signIn } from "./requests.mjs";

/** Shows the page. `done` gets the session. `why` says why it is shown again. */
export function signInPage(done, why) {
  const key = h("input", { type: "password", name: "key", autocomplete: "current-password", required: true, spellcheck: "false", autofocus: true });
  const problem = h("p", { class: "problem", role: "alert" }, why ?? "");
  const button = h("button", { class: "primary" }, "Sign in");
  const form = h("form", { class: "card sign-in", on: { submit } },
    h("img", { src: "/dashboard/icon.svg", alt: "", width: 56, height: 56 }),
    h("h1", {}, "Bennu dashboard"),
    field("API key", key, "The host's own key is in the file api-key of its data directory."),
    problem, button);

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    say(problem, "");
    try {
      const session = await signIn(key.value);
      key.value = "";
      done(session);
    } catch (error) {
      say(problem, error.message);
      key.select();
    } finally {
      button.disabled = false;
    }
  }
  return h("main", { class: "centre" }, form);
}
