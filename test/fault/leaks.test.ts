import { holds } from "./holds.js"
import { scenarios } from "./rig.js"

scenarios("F9: leases that are held too long", ({ it }) => {
  it.effect("each is reported once, as what it is; what was forgotten is taken away, and nobody else notices", () =>
    holds("F9")
  )
})
