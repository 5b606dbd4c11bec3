/** `sluice top` on a terminal. */
import * as Terminal from "@effect/platform/Terminal"
import type * as Pods from "@sluice/observability/Pods"
import * as Top from "@sluice/observability/Top"
import { Clock, Effect, Mailbox, Option, Stream } from "effect"
import * as Keys from "./keys.js"
import * as Screen from "./screen.js"

/** What makes the board be drawn anew. */
type Happened =
  | { readonly _tag: "Pods"; readonly pods: ReadonlyArray<Pods.Pod> }
  | { readonly _tag: "Key"; readonly key: Keys.Pressed }
  | { readonly _tag: "Resized" }

/** A terminal that does not tell its size is taken for the smallest usual one. */
const SMALLEST = { columns: 80, rows: 24 }

/** Shows what `changes` gives until a key ends it. */
export const run = <E, R>(
  changes: Stream.Stream<ReadonlyArray<Pods.Pod>, E, R>,
  out: NodeJS.WriteStream,
  colour: boolean,
  first: Pick<Keys.View, "sort" | "filter">
): Effect.Effect<void, E, R | Terminal.Terminal> =>
  Effect.gen(function* () {
    const terminal = yield* Terminal.Terminal
    const happenings = yield* Mailbox.make<Happened, E>()
    const keys = yield* terminal.readInput
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const resized = () => happenings.unsafeOffer({ _tag: "Resized" })
        out.on("resize", resized)
        return resized
      }),
      (resized) => Effect.sync(() => out.off("resize", resized))
    )
    const screen = yield* Screen.take(out)
    yield* Effect.forkScoped(
      Stream.runForEach(changes, (pods) => happenings.offer({ _tag: "Pods", pods })).pipe(
        Effect.catchAllCause((cause) => happenings.failCause(cause))
      )
    )
    yield* Effect.forkScoped(
      Stream.runForEach(Mailbox.toStream(keys), ({ input, key: { ctrl, name } }) =>
        happenings.offer({ _tag: "Key", key: { name, ctrl, text: Option.getOrElse(input, () => "") } })
      ).pipe(Effect.zipRight(happenings.end))
    )

    let view: Keys.View = { ...Keys.initial, ...first }
    let pods: ReadonlyArray<Pods.Pod> | undefined
    let later: ReadonlyArray<Pods.Pod> | undefined
    let at = yield* Clock.currentTimeMillis
    let extent: Keys.Extent = { scrollMax: 0, page: 1 }

    const draw = (): void => {
      const { columns = SMALLEST.columns, rows = SMALLEST.rows } = out
      const { lines, scrollMax } = Top.draw({
        pods: pods ?? [],
        at,
        columns,
        rows,
        colour,
        sort: view.sort,
        filter: view.filter,
        scroll: view.scroll,
        status: view.isPaused ? "paused" : undefined,
        footer: Keys.footer(view)
      })
      extent = { scrollMax, page: Math.max(1, rows - 3) }
      view = { ...view, scroll: Math.min(view.scroll, scrollMax) }
      screen.show(lines)
    }

    const handle = (happened: Happened, now: number): boolean => {
      switch (happened._tag) {
        case "Pods":
          later = happened.pods
          break
        case "Resized":
          screen.forget()
          break
        case "Key": {
          const next = Keys.press(view, happened.key, extent)
          if (next === undefined) return false
          view = next
        }
      }
      if (!view.isPaused && later !== undefined) {
        pods = later
        later = undefined
        at = now
      }
      draw()
      return true
    }

    draw()
    yield* Stream.runForEachWhile(Mailbox.toStream(happenings), (happened) =>
      Effect.map(Clock.currentTimeMillis, (now) => handle(happened, now))
    )
  }).pipe(Effect.scoped)
