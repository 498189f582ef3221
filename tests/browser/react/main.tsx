// Takes over the page that the server has rendered.

import { hydrateRoot } from "react-dom/client";

import { App } from "./app.js";

hydrateRoot(document.getElementById("root")!, <App />);
