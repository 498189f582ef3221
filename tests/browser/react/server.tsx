// Renders the page on a server.

import { renderToString } from "react-dom/server";

import { App } from "./app.js";

const STYLE = `
  body { font: 16px system-ui; margin: 2rem; color: #222 }
  .parts { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }
  section { border: 1px solid #bbb; border-radius: 8px; padding: 0 1rem 1rem }
  input, button { font: inherit; margin-right: .5rem }
`;

export const html = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Bennu with React</title><link rel="icon" href="data:,"><style>${STYLE}</style></head>
<body><div id="root">${renderToString(<App />)}</div><script type="module" src="main.js"></script></body>
</html>
`;
