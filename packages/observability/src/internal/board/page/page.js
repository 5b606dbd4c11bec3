/** The page: the head with the filters, the panels in their order, and what is said when no news come. */
import { paint } from "./curves.js"
import {
  base,
  groupsOf,
  isFiltered,
  isStale,
  isWanted,
  listen,
  names,
  past,
  rowsOf,
  setFilter,
  silentMs,
  state,
  told,
  totalOf
} from "./data.js"
import { draw, h } from "./dom.js"
import { contents, useCurve, waitCurve } from "./panels.js"
import { counted, duration } from "./words.js"

const place = (id) => document.getElementById(id)

/** The switch between light and dark. Without a choice the page is as the system is. */
const themes = ["auto", "light", "dark"]

const theme = () => {
  try {
    return localStorage.getItem("sluice-theme") ?? "auto"
  } catch {
    // A browser that keeps nothing.
    return document.documentElement.dataset.theme ?? "auto"
  }
}

const setTheme = (name) => {
  if (name === "auto") delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = name
  try {
    localStorage.setItem("sluice-theme", name)
  } catch {
    // It is kept for as long as the page is open.
  }
  show()
}

const tools = () => [
  h(
    "label",
    { class: "field" },
    h("span", {}, "Look"),
    h(
      "select",
      { id: "theme", value: theme(), on: { change: ({ target }) => setTheme(target.value) } },
      themes.map((name) => h("option", { value: name }, name))
    )
  ),
  told.canSignIn &&
    h(
      "details",
      { class: "signin" },
      h("summary", {}, "Sign in"),
      h(
        "form",
        { method: "post", class: "card" },
        h("input", { type: "hidden", name: "user", autocomplete: "username", value: "board" }),
        h("label", { for: "token" }, "Token"),
        h("input", { id: "token", name: "token", type: "password", autocomplete: "current-password", required: true }),
        h("button", { type: "submit", class: "primary" }, "Sign in")
      )
    ),
  told.canSignOut &&
    h(
      "form",
      { method: "post" },
      h("input", { type: "hidden", name: "out", value: "1" }),
      h("button", { type: "submit" }, "Sign out")
    )
]

const select = (name, values) => {
  const chosen = state.filters[name]
  // A filter that fits nothing is shown all the same: the page would be empty and nobody knew why.
  const all = chosen === "" || values.includes(chosen) ? values : [chosen, ...values]
  return h(
    "label",
    { class: "field", key: name },
    h("span", {}, name),
    h(
      "select",
      { id: `filter-${name}`, value: chosen, on: { change: ({ target }) => choose(name, target.value) } },
      h("option", { value: "" }, "all"),
      all.map((value) => h("option", { key: value, value }, value))
    )
  )
}

const filters = (rows) => [
  ...names.map((name) =>
    select(
      name,
      [...new Set(rows.map(({ pool, report }) => ({ pool: pool.name, pod: report.pod, role: pool.role })[name]))].sort()
    )
  ),
  isFiltered() && h("button", { key: "clear", type: "button", on: { click: () => clear() } }, "Show all")
]

const clear = () => {
  for (const name of names) setFilter(name, "")
  show()
}

const choose = (name, value) => {
  setFilter(name, value)
  show()
}

const problems = {
  "signed out": "You are not signed in any more. Load the page again.",
  "too many viewers": "Too many people look at this board. Trying again …"
}

/** Whether news come. The text changes only when that changes, because a screen reader says each change. */
const live = () => {
  const isOld = isStale()
  const [kind, text] = isOld
    ? ["off", problems[state.problem] ?? "No news, so the numbers are old. Connecting again …"]
    : state.now === undefined
      ? ["", "connecting"]
      : ["on", "live"]
  place("live").className = `live ${kind}`
  document.body.classList.toggle("stale", isOld)
  if (place("live-text").textContent !== text) place("live-text").textContent = text
  place("live-age").textContent = isOld ? duration(Math.floor(silentMs() / 1_000) * 1_000) : ""
}

const panel = ({ description, id, title }, view) =>
  h(
    "section",
    {
      key: id,
      id,
      class: `card ${id}`,
      "aria-labelledby": `title-${id}`,
      tabindex: id === "verdict" ? "-1" : undefined
    },
    h("header", {}, h("h2", { id: `title-${id}` }, title), h("p", { class: "about" }, description)),
    contents[id](view)
  )

const show = () => {
  live()
  draw(place("tools"), ...tools())
  const event = state.now
  if (event === undefined) return
  const all = rowsOf(event)
  const rows = all.filter(isWanted)
  const view = { event, rows, groups: groupsOf(rows), total: totalOf(rows), past: past(), choose }
  draw(place("filters"), ...filters(all))
  draw(
    place("board"),
    told.panels.map((one) => (one.id !== "verdict" && rows.length === 0 ? undefined : panel(one, view))),
    rows.length === 0 &&
      h(
        "p",
        { key: "nothing", class: "card note" },
        all.length === 0 ? "No pool is open." : "No pool fits the filters."
      )
  )
  place("board").setAttribute("aria-busy", "false")
  draw(place("foot"), ...foot(event))
  for (const spec of [waitCurve, useCurve]) paint(spec, view.past)
}

const foot = ({ reports, silent }) => [
  h(
    "span",
    {},
    reports.length === 1
      ? `${reports[0].pod}, process ${reports[0].pid}, up for ${duration(reports[0].uptimeMs)}`
      : counted(reports.length + silent.length, "pod")
  ),
  h(
    "span",
    {},
    told.who === ""
      ? ""
      : `You are ${told.who}, and see ${told.rights === "numbers" ? "numbers" : "numbers and texts"}.`
  ),
  h("a", { href: `${base}stats.json` }, "stats.json")
]

const start = () => {
  const chosen = theme()
  if (chosen !== "auto") document.documentElement.dataset.theme = chosen
  addEventListener("popstate", show)
  addEventListener("resize", show)
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show)
  place("filters").addEventListener("submit", (event) => event.preventDefault())
  // Texts take room.
  document.body.classList.toggle("texts", told.rights !== "numbers")
  listen(show)
  show()
}

start()
