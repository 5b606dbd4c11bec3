/**
 * F13: 24 workers use a pool of 8 while it is resized, reset, suspended, and while its connections fail in every way, for 100
 * cycles, on the real clock; on a busy machine for as many as 20 seconds have room for. Claims, each checked:
 *
 * - no connection is used by two workers at once, or by more than `concurrency` who share it;
 * - no worker is handed a connection that is closed, and none is closed while a worker uses it;
 * - I1 to I10 hold after every transition;
 * - workers are served throughout, and when the faults end each of them is served;
 * - after the pool has closed: opened = closed, nobody waits, nothing is leased.
 *
 * `POOL_SEED` repeats the same choices; the order of events depends on the machine.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Random, Scope } from "effect"
import { Backoff, Pool, type PoolOptions, type Priority } from "../src/index.js"
import { type Connection, type ConnectStep, FakeHost, type Step } from "./support/Fixture.js"
import { watch } from "./support/invariants.js"

const seed = process.env["POOL_SEED"] ?? String(Date.now() % 1_000_000)
const WORKERS = 24
const CYCLES = 100
/** Milliseconds for the cycles. */
const LONGEST = 20_000

const priorities: ReadonlyArray<Priority.Priority> = ["critical", "high", "normal", "low", "background"]
/** Without `rejected`: that one is meant to keep callers away for a second. */
const connects: ReadonlyArray<ConnectStep> = [{ after: 3 }, "unreachable", "overloaded", "hang", "failAfterOpening"]
const steps: ReadonlyArray<Step> = ["ok", "ok", "ok", { after: 2 }, "fail", "hang", "die"]
const statuses: ReadonlyArray<PoolOptions.ResourceStatus> = [
  "clean",
  "clean",
  "clean",
  "clean",
  "dirty",
  "busy",
  "dead"
]

const pick = <A>(from: ReadonlyArray<A>): Effect.Effect<A> =>
  Effect.map(Random.nextIntBetween(0, from.length), (i) => from[i]!)

describe("F13", () => {
  it.live(
    `24 workers and 100 cycles of control and faults (POOL_SEED=${seed})`,
    () =>
      Effect.gen(function* () {
        const host = new FakeHost(() => Date.now())
        const scope = yield* Scope.make()
        const pool = yield* Scope.extend(
          Pool.make<Connection, { readonly kind: PoolOptions.ConnectFailureKind }, never>({
            name: "stress",
            maxSize: 8,
            concurrency: 3,
            acquireTimeout: 500,
            connectTimeout: 20,
            validateAfterIdle: 2,
            validateTimeout: 10,
            resetTimeout: 10,
            abortTimeout: 10,
            closeTimeout: 10,
            drainTimeout: 1_000,
            idleTimeout: 50,
            maxLifetime: 300,
            maxUses: 50,
            backoff: Backoff.jittered({ base: 1, cap: 10 }),
            failFastAfter: 50,
            connect: host.connect,
            validate: host.validate,
            reset: host.clean,
            abort: host.abort,
            status: (connection) => (connection.open ? connection.status : "dead"),
            classify: (error) => error.kind
          }),
          scope
        )
        const watched = watch(pool[Pool.TypeId].engine)
        const wrong: Array<string> = []
        const users = new Map<Connection, { exclusive: number; shared: number }>()
        let served = 0

        const work = (shared: boolean) => (connection: Connection) =>
          Effect.gen(function* () {
            const use = users.get(connection) ?? { exclusive: 0, shared: 0 }
            users.set(connection, use)
            if (!connection.open) wrong.push(`${connection.id} was handed out although it is closed`)
            if (use.exclusive > 0 || (!shared && use.shared > 0)) wrong.push(`${connection.id} has two owners`)
            if (shared && use.shared >= 3) wrong.push(`${connection.id} has too many who share it`)
            const kind = shared ? "shared" : "exclusive"
            use[kind]++
            served++
            const ms = yield* Random.nextIntBetween(0, 4)
            const status = yield* pick(statuses)
            yield* Effect.ensuring(
              Effect.sleep(ms),
              Effect.sync(() => {
                use[kind]--
                if (!connection.open) wrong.push(`${connection.id} was closed while it was used`)
                if (use.shared === 0) connection.status = status
              })
            )
          })

        const turn = Effect.gen(function* () {
          const [verb, priority, patience] = yield* Effect.all([
            Random.nextIntBetween(0, 3),
            pick(priorities),
            Random.nextIntBetween(1, 40)
          ])
          const one =
            verb === 0
              ? Pool.use(pool, work(false), { priority })
              : verb === 1
                ? Pool.share(pool, work(true), { priority })
                : Effect.scoped(Effect.flatMap(Pool.acquire(pool, { priority }), work(false)))
          const exit = yield* Effect.exit(Effect.timeout(one, patience))
          // A refusal at once must not become a busy loop.
          if (Exit.isFailure(exit)) yield* Effect.sleep(1)
        })

        const cycle = Effect.gen(function* () {
          const what = yield* Random.nextIntBetween(0, 9)
          const some = yield* Effect.map(Random.shuffle(host.connections.filter((c) => c.open)), (all) =>
            [...all].slice(0, 2)
          )
          if (what === 0) yield* Pool.resize(pool, yield* Random.nextIntBetween(1, 13))
          else if (what === 1) yield* Pool.reset(pool, { spread: yield* pick([0, 20]) })
          else if (what === 2) yield* Pool.suspend(pool, { atMost: yield* pick([0, 5, 20]) })
          else if (what === 3) yield* Pool.resume(pool)
          else if (what === 4) for (const connection of some) connection.signals.broken("killed")
          else if (what === 5) for (const connection of some) connection.signals.fatal("killed")
          else if (what === 6) for (const connection of some) yield* Pool.evict(pool, connection)
          else if (what === 7) host.script.push(yield* pick(connects), yield* pick(connects), yield* pick(connects))
          else {
            host.checks = yield* pick(steps)
            host.resets = yield* pick(steps)
            host.aborts = yield* pick(steps)
            host.closes = yield* pick(["ok", "ok", { after: 2 }, "die"] as const)
          }
          yield* Effect.sleep(yield* Random.nextIntBetween(5, 30))
        })

        const workers = yield* Effect.forEach(Array.from({ length: WORKERS }), (_, i) =>
          Effect.forkDaemon(Effect.withRandom(Effect.forever(turn), Random.make(`${seed}-${i}`)))
        )
        let cycles = 0
        const end = performance.now() + LONGEST
        yield* Effect.repeat(cycle, { until: () => ++cycles === CYCLES || performance.now() > end })
        assert.isAbove(served, cycles, "hardly anybody was served while it went on")

        host.script.length = 0
        host.checks = host.resets = host.aborts = host.closes = "ok"
        yield* Pool.resume(pool)
        const last = Pool.use(pool, () => Effect.void)
        yield* Effect.all(
          Array.from({ length: WORKERS }, () => Effect.retry(last, { while: () => Effect.as(Effect.sleep(5), true) })),
          { concurrency: "unbounded" }
        ).pipe(
          // The other workers go on, and every bound of the pool is shorter than a busy machine may stand still.
          Effect.timeoutFail({ duration: 60_000, onTimeout: () => new Error(JSON.stringify(Pool.unsafeStats(pool))) })
        )

        yield* Fiber.interruptAll(workers)
        yield* Scope.close(scope, Exit.void)
        const { phase, size, using, waiting } = Pool.unsafeStats(pool)
        assert.deepStrictEqual(watched.violations, [])
        assert.deepStrictEqual(wrong, [])
        assert.deepStrictEqual({ phase, size, using, waiting }, { phase: "closed", size: 0, using: 0, waiting: 0 })
        assert.strictEqual(host.closed, host.opened)
      }).pipe(Effect.withRandom(Random.make(seed))),
    120_000
  )
})
