import { holds } from "./holds.js"
import { scenarios } from "./rig.js"

scenarios("F29: a suspended process", ({ it }) => {
  it.effect("it is stopped, and its servers end its sessions meanwhile: the next statements do not fail", () =>
    holds("F29 by SIGSTOP")
  )

  it.effect("it has closed everything before, when asked to", () => holds("F29 when asked"))
})
