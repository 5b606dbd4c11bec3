/** Every connection that a pool may have, as a place, and the callers that wait at its gate. */

import { told } from "./data.js"
import { h } from "./dom.js"
import { counted, duration } from "./words.js"

/** More than these are drawn as a bar: squares could not be counted any more. */
const MOST_PLACES = 120

/** Callers at the gate that are drawn one by one. */
const MOST_CALLERS = 24

/** The states of a place, in the order in which they are drawn. `inTransit`: between two holders, or between open and not open. */
const statesOf = (total) => {
  const inTransit = total.connecting + total.closing + total.validating + total.resetting + total.quarantined
  const open = total.using + total.available + inTransit
  return [
    { name: told.words.using, kind: "using", count: total.using },
    { name: "in transit", kind: "transit", count: inTransit },
    { name: told.words.available, kind: "idle", count: total.available },
    { name: told.words.free, kind: "free", count: Math.max(0, total.max - open) }
  ]
}

const squares = (states) =>
  h(
    "div",
    { class: "squares" },
    states.flatMap(({ count, kind }) => Array.from({ length: count }, () => h("i", { class: kind })))
  )

const bar = (states, max) =>
  h(
    "div",
    { class: "stack" },
    states.map(({ count, kind }) =>
      h("i", { class: kind, style: { "flex-grow": max === 0 ? 0 : count, display: count === 0 ? "none" : "block" } })
    )
  )

const gate = (waiting) =>
  h(
    "div",
    { class: waiting === 0 ? "gate calm" : "gate" },
    Array.from({ length: Math.min(waiting, MOST_CALLERS) }, () => h("i", { class: "caller" })),
    waiting > MOST_CALLERS && h("b", {}, `+${waiting - MOST_CALLERS}`)
  )

const number = (name, value, kind) => h("div", { class: kind }, h("dt", {}, name), h("dd", {}, String(value)))

export const flagsOf = (rows) => {
  const has = (is) => rows.some(is)
  return [
    has(({ pool }) => !pool.isUp || pool.host === "down") && { kind: "bad", text: "down" },
    has(({ pool }) => pool.isUp && pool.host === "failing") && { kind: "warn", text: "connects fail" },
    has(({ pool }) => pool.isSilent) && { kind: "warn", text: "silent" },
    has(({ pool }) => pool.isLagging) && { kind: "warn", text: "lagging" },
    has(({ pool }) => pool.phase === "suspended") && { kind: "warn", text: "suspended" },
    has(({ pool }) => pool.phase === "draining") && { kind: "warn", text: "draining" },
    has(({ pool }) => pool.phase === "closed") && { kind: "bad", text: "closed" },
    has(({ pool }) => pool.isOverloaded) && { kind: "warn", text: "overloaded" }
  ].filter((flag) => flag !== false)
}

export const badges = (flags) => flags.map(({ kind, text }) => h("span", { class: `badge ${kind}`, key: text }, text))

export const places = (groups, buttons) =>
  groups.map(({ key, pool, rows, total }) => {
    const states = statesOf(total)
    const drawing = total.max <= MOST_PLACES ? squares(states) : bar(states, total.max)
    const inWords = `${states.map(({ count, name }) => `${count} ${name}`).join(", ")}; ${counted(total.waiting, "caller waits", "callers wait")} at the gate`
    return h(
      "article",
      { key, class: "pool", "aria-label": `Pool ${pool.name}, ${pool.role}` },
      h(
        "header",
        {},
        h("h3", {}, pool.name),
        h("span", { class: "badge" }, pool.role),
        badges(flagsOf(rows)),
        h(
          "span",
          { class: "where" },
          rows.length === 1 ? pool.endpoint : `${pool.endpoint} · ${counted(rows.length, "pod")}`
        )
      ),
      h("div", { class: "row", role: "img", "aria-label": inWords }, drawing, gate(total.waiting)),
      h(
        "dl",
        { class: "numbers" },
        number(told.words.size, total.size),
        number(told.words.available, total.available),
        number(told.words.using, total.using),
        number(told.words.waiting, total.waiting, total.waiting > 0 ? "hot" : undefined),
        number(told.words.max, total.max),
        number(told.words.oldestWait, duration(total.oldestWaitMs))
      ),
      buttons({ pool, rows })
    )
  })

export const legend = () =>
  h(
    "p",
    { class: "legend", "aria-hidden": "true" },
    [
      ["using", told.words.using],
      ["transit", "in transit"],
      ["idle", told.words.available],
      ["free", told.words.free],
      ["caller", told.words.waiting]
    ].map(([kind, name]) => h("span", {}, h("i", { class: `key ${kind}` }), name))
  )
