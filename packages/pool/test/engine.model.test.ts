/**
 * The engine under random steps. `watch` checks I1 to I12 after each transition and predicts who is served; the rig adds
 * what it sees from outside: who was handed what. At the end everything goes well, and then everybody must be served.
 *
 * `POOL_SEED` repeats one run, `POOL_RUNS` asks for more.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { PoolConfig, ResourceStatus } from "../src/PoolOptions.js"
import type { Priority } from "../src/Priority.js"
import { type Abilities, Rig } from "./support/EngineRig.js"
import { generator } from "./support/generator.js"

const runs = Number(process.env["POOL_RUNS"] ?? 1_000)
/** Milliseconds after which a busy machine begins no other run. */
const LONGEST = 20_000
const seed = process.env["POOL_SEED"] === undefined ? undefined : Number(process.env["POOL_SEED"])

/** A step: which, and two numbers to choose with. */
type Step = readonly [op: number, a: number, b: number]

const priorities: ReadonlyArray<Priority> = ["critical", "high", "normal", "normal", "low", "background"]
const timeouts = [0, 1, 30, 200, 1_000, 5_000, Infinity, Infinity]
const deadlines = [1, 25, 60, 300]
const statuses: ReadonlyArray<ResourceStatus> = ["clean", "clean", "clean", "dirty", "busy", "dead"]
const kinds = ["unreachable", "unreachable", "overloaded", "rejected"] as const
/** Callers; the engine looks only at which one it is. */
const fibers = Array.from({ length: 6 }, (_, id) => ({ id }))

const pick = <A>(from: ReadonlyArray<A>, n: number): A => from[n % from.length]!

/** Each name stands as often as it is to be tried. */
const operations = (
  rig: Rig
): ReadonlyArray<readonly [weight: number, name: string, run: (a: number, b: number) => void]> => [
  [8, "acquire", (a, b) => rig.acquire(pick(priorities, a), false, pick(timeouts, b), pick(fibers, a + b))],
  [2, "acquire by a deadline", (a, b) => rig.acquire(pick(priorities, a), b % 2 === 0, 5_000, {}, pick(deadlines, b))],
  [4, "share", (a, b) => rig.acquire(pick(priorities, a), true, pick(timeouts, b), pick(fibers, a + b))],
  [8, "release", (a) => rig.leases.length > 0 && rig.end(pick(rig.leases, a), "release")],
  [
    2,
    "release unclean",
    (a, b) => {
      if (rig.leases.length === 0) return
      const lease = pick(rig.leases, a)
      lease.record.entry.resource.status = pick(statuses, b)
      rig.end(lease, "release")
    }
  ],
  [2, "interrupt a holder", (a) => rig.leases.length > 0 && rig.end(pick(rig.leases, a), "abandon")],
  [3, "interrupt a waiter", (a) => rig.waiting.size > 0 && rig.leave(pick([...rig.waiting], a))],
  [2, "release late", (a) => rig.ended.length > 0 && rig.releaseAgain(pick(rig.ended, a))],
  [6, "connect ok", (a) => rig.connects.length > 0 && rig.connected(a % rig.connects.length)],
  [3, "connect fails", (a, b) => rig.connects.length > 0 && rig.failed(a % rig.connects.length, pick(kinds, b))],
  [8, "pause", (a) => rig.pauses > 0 && rig.pause(pick([0, 1, 50, 1_000], a))],
  [
    1,
    "timers are late",
    () => {
      rig.isLate = !rig.isLate
    }
  ],
  [4, "check", (a, b) => rig.checks.length > 0 && rig.checked(a % rig.checks.length, b % 3 !== 0)],
  [4, "reset a connection", (a, b) => rig.resets.length > 0 && rig.wasReset(a % rig.resets.length, b % 3 !== 0)],
  [4, "abort", (a, b) => rig.aborts.length > 0 && rig.aborted(a % rig.aborts.length, b % 3 !== 0, pick(statuses, b))],
  [8, "closed", (a) => rig.closes.length > 0 && rig.closed(a % rig.closes.length)],
  [6, "time passes", (a, b) => rig.pass(pick([0, 1, 20, 300, 1_000, 10_000], a), pick([0, 0, 0, 5, 3_000], b))],
  [
    1,
    "status",
    (a, b) => {
      if (rig.connections.length > 0) pick(rig.connections, a).status = pick(statuses, b)
    }
  ],
  [
    1,
    "evict",
    (a) => {
      const entries = [...rig.engine.state.entries()]
      if (entries.length > 0) rig.engine.evict(pick(entries, a), "error")
    }
  ],
  [1, "suspect", () => rig.engine.suspect("test")],
  [1, "resize", (a) => rig.engine.resize(1 + (a % 6))],
  [1, "suspend", (a) => rig.engine.suspend(pick([0, 100, 5_000], a))],
  [2, "resume", () => rig.engine.resume()],
  [1, "reset", (a) => rig.engine.reset(pick([0, 5_000], a))]
]

/** A share must come to one connection at least. */
const withinReach = (limits: PoolConfig["classLimits"], maxSize: number): PoolConfig["classLimits"] =>
  limits &&
  Object.fromEntries(Object.entries(limits).map(([priority, share]) => [priority, Math.max(share, 1 / maxSize)]))

const config: fc.Arbitrary<PoolConfig> = fc
  .record({
    maxSize: fc.integer({ min: 1, max: 6 }),
    minIdle: fc.integer({ min: 0, max: 3 }),
    concurrency: fc.integer({ min: 1, max: 3 }),
    maxWaiters: fc.constantFrom(1, 3, 1_000),
    reserved: fc.constantFrom(0, 0, 1, 2),
    limits: fc.constantFrom(
      undefined,
      undefined,
      { background: 0.5 },
      { normal: 0.34, background: 1 },
      { critical: 0.2 }
    ),
    shedding: fc.record({
      mode: fc.constantFrom("off" as const, "shadow" as const, "on" as const, "on" as const),
      target: fc.constantFrom(1, 20, 500),
      interval: fc.constantFrom(1, 100, 500)
    }),
    maxUses: fc.constantFrom(Infinity, Infinity, 3),
    idleTimeout: fc.constantFrom(300_000, 2_000),
    maxLifetime: fc.constantFrom(1_800_000, 8_000),
    keepAlive: fc.constantFrom(60_000, 1_500),
    validateAfterIdle: fc.constantFrom(0, 500, 1_000_000),
    failFastAfter: fc.constantFrom(0, 1, 5_000),
    leakThreshold: fc.constantFrom(30_000, 2_000),
    reclaim: fc.boolean(),
    closeWhenIdle: fc.constantFrom(undefined, undefined, 400, 5_000)
  })
  .map(({ limits, ...options }) => ({
    ...options,
    minIdle: Math.min(options.minIdle, options.maxSize),
    reserved: Math.min(options.reserved, options.maxSize - 1),
    classLimits: withinReach(limits, options.maxSize)
  }))

const abilities: fc.Arbitrary<Abilities> = fc.record({
  canValidate: fc.boolean(),
  canReset: fc.boolean(),
  canAbort: fc.boolean()
})

const play = (rig: Rig, steps: Iterable<Step>): ReadonlyArray<string> => {
  const table = operations(rig).flatMap(([weight, name, run]) => Array.from({ length: weight }, () => ({ name, run })))
  const log: Array<string> = []
  for (const [op, a, b] of steps) {
    const { name, run } = pick(table, op)
    log.push(`${name} ${a} ${b}`)
    run(a, b)
    if (rig.watched.violations.length > 0) break
  }
  return log
}

/** The host works, leases end, time passes: then nobody waits who can be served, and closing leaves nothing. */
const finish = (rig: Rig): void => {
  rig.isLate = false
  rig.engine.resume()
  rig.quiesce()
  assert.deepStrictEqual(rig.watched.violations, [])
  assert.strictEqual(rig.waiting.size, 0, "somebody waits for ever although everything works")
  if (rig.engine.config.closeWhenIdle === Infinity) {
    assert.isAtLeast(
      rig.engine.state.open + rig.engine.state.connecting,
      rig.engine.config.minIdle,
      "minIdle is not restored"
    )
  } else assert.strictEqual(rig.engine.state.total, 0, "nobody uses the pool, and a connection is open")
  rig.engine.drain(1_000)
  for (let i = 0; i < 10; i++) {
    while (rig.connects.length > 0) rig.failed(0, "unreachable")
    while (rig.checks.length > 0) rig.checked(0, false)
    while (rig.resets.length > 0) rig.wasReset(0, false)
    while (rig.aborts.length > 0) rig.aborted(0, false, "busy")
    while (rig.closes.length > 0) rig.closed(0)
    rig.pass(200)
  }
  assert.deepStrictEqual(rig.watched.violations, [])
  assert.isDefined(rig.drained, "the drain does not end")
  assert.isTrue(
    rig.connections.every((connection) => connection.closed),
    "I9: a connection was opened and never closed"
  )
  const closed = Object.values(rig.engine.state.counters.closed).reduce((a, b) => a + b, 0)
  assert.deepStrictEqual([closed, rig.engine.state.counters.connects], [rig.connections.length, rig.connections.length])
}

describe("the engine", () => {
  it("I1–I12 hold after every one of any steps, and everybody is served in the end", () => {
    const step = fc.tuple(fc.nat(1_000), fc.nat(1_000), fc.nat(1_000))
    fc.assert(
      fc.property(
        config,
        abilities,
        fc.nat(),
        fc.array(step, { minLength: 1, maxLength: 200 }),
        (options, can, random, steps) => {
          const rig = new Rig(options, can, generator(random))
          const log = play(rig, steps)
          assert.deepStrictEqual(rig.watched.violations, [], log.join("\n"))
          finish(rig)
        }
      ),
      { numRuns: runs, interruptAfterTimeLimit: LONGEST, ...(seed === undefined ? {} : { seed }) }
    )
  }, 60_000)

  it("I1–I12 hold over long lives: 40 pools, 2,500 steps each", () => {
    const first = seed ?? 1
    const end = performance.now() + LONGEST
    for (let run = first; run < first + 40 && (run === first || performance.now() < end); run++) {
      const random = generator(run)
      const int = (n: number) => Math.floor(random() * n)
      const maxSize = 1 + int(8)
      const rig = new Rig(
        {
          maxSize,
          minIdle: int(Math.min(3, maxSize + 1)),
          concurrency: 1 + int(4),
          maxWaiters: 20 + int(100),
          reserved: int(2) * int(maxSize),
          ...(int(2) === 0 ? {} : { classLimits: withinReach({ normal: 0.7, low: 0.4, background: 0.2 }, maxSize) }),
          shedding: { mode: pick(["off", "shadow", "on"], int(3)), target: 1 + int(100), interval: 1 + int(500) },
          idleTimeout: 2_000 + int(10_000),
          maxLifetime: 5_000 + int(100_000),
          keepAlive: 1_000 + int(10_000),
          leakThreshold: 1_000 + int(60_000),
          reclaim: random() < 0.5,
          closeWhenIdle: random() < 0.3 ? 1 + int(5_000) : undefined
        },
        { canValidate: random() < 0.8, canReset: random() < 0.8, canAbort: random() < 0.8 },
        random
      )
      const steps = Array.from({ length: 2_500 }, (): Step => [int(1_000), int(1_000), int(1_000)])
      const log = play(rig, steps)
      assert.deepStrictEqual(rig.watched.violations, [], `POOL_SEED=${run}\n${log.slice(-30).join("\n")}`)
      finish(rig)
      assert.isAbove(rig.watched.transitions, 1_500)
    }
  }, 60_000)
})
