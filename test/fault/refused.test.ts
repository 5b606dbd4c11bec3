import { holds } from "./holds.js"
import { scenarios } from "./rig.js"

scenarios("F15: the server takes no more connections", ({ it }) => {
  it.effect("callers share those that are open, none fails, and at most 10 connects a second are tried", () =>
    holds("F15")
  )
})
