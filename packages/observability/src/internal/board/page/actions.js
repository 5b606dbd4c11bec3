/** What an admin may do: each action is asked about in a dialog, sent, and its answer is shown there. */
import { base, told } from "./data.js"
import { draw, h } from "./dom.js"

const dialog = document.getElementById("ask")

/** Another process cannot be acted upon from here. */
const isOurs = (report) => report.pod === told.self.pod && report.pid === told.self.pid

const send = async (name, body) => {
  const answer = await fetch(`${base}actions/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-sluice-board": told.forgeryToken },
    body: JSON.stringify(body)
  })
  const text = await answer.text()
  return answer.ok ? JSON.parse(text).message : text.trim()
}

const close = () => dialog.close()

const say = (title, text, buttons) =>
  draw(
    dialog,
    h("h2", { id: "ask-title" }, title),
    h("p", { role: "status" }, text),
    h("div", { class: "buttons" }, buttons)
  )

const button = (key, name, kind, click) => h("button", { key, type: "button", class: kind, on: { click } }, name)

const ask = (title, text, verb, name, body) => {
  const go = async () => {
    say(title, "Sent …", [])
    const text = await send(name, body).catch(() => "The program did not answer. Nothing is known of what was done.")
    say(title, text, [button("close", "Close", "primary", close)])
    dialog.querySelector("button").focus()
  }
  say(title, text, [button("cancel", "Leave it", "", close), button("go", verb, "danger", go)])
  dialog.showModal()
}

const questions = {
  reset:
    "Every connection that is open now is closed: idle ones at once, leased ones when they are released. The pool opens new ones.",
  suspend:
    "Callers wait from now on, until somebody resumes the pool, at most for a minute. Leases that are held are not touched.",
  resume: "Callers that wait are served again.",
  drain:
    "The pool refuses new callers, waits until all leases are released, and closes. It cannot be opened again: only the program can make a new one."
}

const verbs = { reset: "Reset", suspend: "Suspend", resume: "Resume", drain: "Drain" }

export const poolButtons = ({ pool, rows }) => {
  const own = rows.find(({ report }) => isOurs(report))
  if (told.rights !== "admin" || own === undefined) return undefined
  const names = ["reset", own.pool.phase === "suspended" ? "resume" : "suspend", "drain"]
  return h(
    "div",
    { class: "buttons small", role: "group", "aria-label": `Actions on pool ${pool.name}` },
    names.map((name) =>
      button(name, verbs[name], "", () =>
        ask(`${verbs[name]} pool ${pool.name}?`, questions[name], verbs[name], name, { pool: own.pool.id })
      )
    )
  )
}

export const cancelButton = ({ holder, pool, report }) => {
  // Where nothing runs, nothing can be cancelled.
  if (!isOurs(report) || (holder.kind !== "busy" && holder.kind !== "unknown")) return "—"
  const name = `connection ${holder.connection} of pool ${pool.name}`
  return h(
    "button",
    {
      type: "button",
      class: "small",
      "aria-label": `Cancel the statement on ${name}`,
      on: {
        click: () =>
          ask(
            `Cancel the statement on ${name}?`,
            "The server stops the statement that runs there. Its caller gets the error Cancelled.",
            "Cancel the statement",
            "cancel",
            { pool: pool.id, connection: holder.connection, heldMs: holder.heldMs }
          )
      }
    },
    "Cancel"
  )
}
