import { holds } from "./holds.js"
import { scenarios } from "./rig.js"
import { idle } from "./scenarios/silence.js"

scenarios("F2: idle connections are cut silently", ({ it }) => {
  for (const callers of [1, 20]) {
    it.effect(`no caller of ${callers} fails, and one failed check closes them all`, () =>
      holds("F2", (rig) => idle(rig, "silently", callers))
    )
  }

  it.effect("with a FIN that nobody awaits it is the same, and costs no time", () => holds("F2 with a FIN"))
})

scenarios("F3: a black hole", ({ it }) => {
  it.effect(
    "an acquire ends by its deadline, the place of a statement that nobody awaits is free 2 s later, places are constant",
    () => holds("F3"),
    60_000
  )
})
