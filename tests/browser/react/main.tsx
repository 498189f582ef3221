// Takes over the page that the server has rendered.

import { Socket } from "phoenix";
import { hydrateRoot } from "react-dom/client";

import { App } from "./app.js";

const own = location.search === "?own" ? new Socket("/socket", { rejoinAfterMs: () => 50 }) : undefined;
own?.connect();
const root = hydrateRoot(document.getElementById("root")!, <App own={own} />);
// The test ends the page with it.
Object.assign(window, { root });
