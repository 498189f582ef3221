// Shows failed builds, refused plugins, faults and failed tests above a page. Only `bennu dev` inserts this script.
(() => {
  // A frame is a part of a page that shows the same.
  if (window !== window.top) return

  const STYLE = `
    :host { all: initial; }
    section {
      position: fixed; z-index: 2147483647; inset: auto 1rem 1rem 1rem; max-height: 60vh; overflow: auto; margin: 0 auto;
      max-width: 60rem; box-sizing: border-box; padding: 0.75rem 1rem; border-radius: 8px; border-left: 6px solid #e5484d;
      background: #16181d; color: #eceef2; box-shadow: 0 8px 32px #0008; font: 14px/1.45 system-ui, sans-serif;
    }
    header { display: flex; justify-content: space-between; align-items: start; gap: 1rem; }
    h2 { margin: 0; font-size: 15px; font-weight: 600; overflow-wrap: anywhere; }
    pre { margin: 0.5rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; }
    article + article { margin-top: 1rem; padding-top: 0.75rem; border-top: 1px solid #ffffff22; }
    button { border: 0; background: none; color: inherit; font: 20px/1 system-ui; cursor: pointer; padding: 0 0.25rem; }
    button:focus-visible { outline: 2px solid #7cb3ff; }
  `
  const TITLES = { build: "the build failed; the last build keeps running", refused: "refused; the last build keeps running" }

  const element = (name, text = "") => {
    const made = document.createElement(name)
    made.textContent = text
    return made
  }

  const host = element("bennu-dev")
  const root = host.attachShadow({ mode: "open" })
  let hidden = ""

  /** What there is to show, as pairs of a title and a text. */
  const findings = ({ plugins, tests }) => {
    const found = []
    for (const [name, { problem, faults, generation }] of Object.entries(plugins)) {
      if (problem) {
        const title = generation > 0 ? TITLES[problem.kind] : TITLES[problem.kind].split(";")[0]
        found.push([`${name}: ${title}`, problem.text])
      }
      for (const { place, text, count } of faults) {
        found.push([`${name}: fault in ${place}${count > 1 ? `, ${count} times` : ""}`, text])
      }
    }
    if (tests) found.push(["tests failed", tests])
    return found
  }

  const show = (found) => {
    root.replaceChildren()
    const key = JSON.stringify(found)
    if (found.length === 0 || key === hidden) return host.remove()
    const section = element("section")
    section.setAttribute("role", "alert")
    found.forEach(([title, text], at) => {
      const article = element("article")
      const header = element("header")
      header.append(element("h2", title))
      if (at === 0) {
        const close = element("button", "×")
        close.title = "Hide until something changes"
        close.onclick = () => {
          hidden = key
          host.remove()
        }
        header.append(close)
      }
      article.append(header, element("pre", text))
      section.append(article)
    })
    root.append(element("style", STYLE), section)
    document.documentElement.append(host)
  }

  let pages
  const receive = ({ data }) => {
    const state = JSON.parse(data)
    dispatchEvent(new CustomEvent("bennu:dev", { detail: state }))
    if (pages !== undefined && pages < state.pages) return location.reload()
    pages = state.pages
    show(findings(state))
  }

  // A browser has at most six connections to one address, so a page that nobody sees gives its own back.
  let events
  const connect = () => {
    events?.close()
    if (document.hidden) return
    events = new EventSource("/__bennu/events")
    events.onmessage = receive
  }
  document.addEventListener("visibilitychange", connect)
  connect()
})()
