import { holds } from "./holds.js"
import { scenarios } from "./rig.js"

scenarios("F1: a database restarts", ({ it }) => {
  it.effect(
    "at most the 10 statements in flight fail, 100 waiters and 20 newcomers are served, at most 10 connects a second meanwhile, full throughput within 2 s",
    () => holds("F1"),
    90_000
  )

  it.effect(
    "the same on the pool of a replica, where not even those in flight fail",
    () => holds("F1 read pool"),
    90_000
  )
})
