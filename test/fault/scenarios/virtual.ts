/** For scenarios without a server: a clock that they move. */
import { Effect, Exit, Random, Scope } from "effect"
import { VirtualClock } from "../../../packages/pool/test/support/VirtualClock.js"

const SEED = 22

let runs = 0

/** Each run has another chance, the same ones in every call of the command. */
const nextSeed = (): number => SEED + runs++

/** Runs on a clock that it moves, with chance that is the same each time but for the run. */
export const onVirtualClock = <A>(body: (clock: VirtualClock) => Effect.Effect<A, unknown, Scope.Scope>) =>
  Effect.suspend(() => {
    const seed = nextSeed()
    const clock = new VirtualClock()
    // The scope is closed while the clock is moved: a pool that closes waits for what it has told others.
    return Effect.gen(function* () {
      const scope = yield* Scope.make()
      const value = yield* Scope.extend(body(clock), scope)
      const closing = yield* Effect.forkDaemon(Scope.close(scope, Exit.void))
      yield* clock.pass(20_000)
      yield* closing.await
      return value
    }).pipe(Effect.withClock(clock), Effect.withRandom(Random.make(seed)))
  })
