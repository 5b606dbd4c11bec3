import type { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import { Effect, Exit, Runtime, RuntimeFlags, type Scope } from "effect"
import type { Health } from "../../SqlStats.js"
import type { Cluster } from "./cluster.js"
import { Question } from "./question.js"

/** Milliseconds for which a byte of the server says that it works. */
const FRESH = 1_000

/** Milliseconds that a caller waits for the answer to a probe. Those who ask for health often wait for 100 themselves. */
const PATIENCE = 80

/** Whether the server that takes the writes works: see `SqlHealth.health`. */
export const make = Effect.fnUntraced(function* <Conn>(
  cluster: Cluster<Conn>
): Effect.fn.Return<Effect.Effect<Health>, never, Scope.Scope> {
  const { driver, members, timers } = cluster
  const scope = yield* Effect.scope
  // A Layer is built where nothing can be interrupted, and the fibers that are started here must not inherit that.
  const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
  // The primary may be another one at each question.
  const question = new Question<void>({
    timers,
    pause: 0,
    ask: () => members.primary.control.run(driver.ping),
    fork: (effect) => Runtime.runFork(runtime, effect, { scope })
  })
  const probe: Effect.Effect<Health> = AsyncContext.async((resume) => {
    const late = timers.set(timers.now() + PATIENCE, () => resume(Effect.succeed(not("the database does not answer"))))
    question.ask((exit: Exit.Exit<void, SqlError>) => {
      late.cancel()
      resume(Effect.succeed(Exit.isSuccess(exit) ? ready : not("the database cannot be reached")))
    })
    return Effect.sync(() => late.cancel())
  })
  return Effect.suspend(() => {
    const { primary } = members
    const { phase } = primary
    if (phase !== "running") return Effect.succeed(not(`the pool is ${phase}`))
    if (members.writable === undefined && members.isLooking && cluster.target === "read-write") {
      return Effect.succeed(not("no server takes writes"))
    }
    return timers.now() - primary.heardAt <= FRESH ? Effect.succeed(ready) : probe
  })
})

const ready: Health = { isReady: true, reason: undefined }

const not = (reason: string): Health => ({ isReady: false, reason })
