/**
 * What the servers count, asked while somebody looks at reports: never on a connection of a pool, and nobody waits for the answer.
 */
import type { Timers } from "@sluice/pool/Deadline"
import type { ServerLoad, Source } from "@sluice/sql/Sources"
import { Effect, Option, Runtime, RuntimeFlags, type Scope } from "effect"

/** Milliseconds between two questions at least. */
const PAUSE = 5_000

/** Milliseconds for which an answer is shown. A server that is gone has no connections. */
const LONGEST = 30_000

interface Asked {
  readonly at: number
  isUnderWay: boolean
  answer: { readonly at: number; readonly load: ServerLoad } | undefined
}

export interface Loads {
  /** The last answer, and when it came. Asks again, if that was a while ago. */
  readonly of: (source: Source) => { readonly at: number; readonly load: ServerLoad } | undefined
}

export const make = (timers: Timers["Type"]): Effect.Effect<Loads, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    // A Layer is built where nothing can be interrupted, and the fibers that are started here must not inherit that.
    const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
    const asked = new WeakMap<Source, Asked>()
    const ask = (source: Source, before: Asked | undefined): Asked => {
      const asking: Asked = { at: timers.now(), isUnderWay: true, answer: before?.answer }
      const answered = Effect.map(source.load, (load) => {
        if (Option.isSome(load)) asking.answer = { at: timers.now(), load: load.value }
      })
      Runtime.runFork(
        runtime,
        Effect.ensuring(
          answered,
          Effect.sync(() => {
            asking.isUnderWay = false
          })
        ),
        { scope }
      )
      return asking
    }
    return {
      of: (source) => {
        const now = timers.now()
        let last = asked.get(source)
        if (last === undefined || (!last.isUnderWay && now - last.at >= PAUSE)) {
          last = ask(source, last)
          asked.set(source, last)
        }
        const { answer } = last
        return answer !== undefined && now - answer.at < LONGEST ? answer : undefined
      }
    }
  })
