/**
 * The servers change their roles. Each scenario has a cluster of its own, because a promotion cannot be taken back.
 *
 * | what happens | what is under way | what must come of it |
 * | --- | --- | --- |
 * | the primary is stopped, the replica is promoted | 20 writers that insert, retry-safe reads | no error but for what was in flight; no row twice |
 * | the same, with a hold | 20 writers, each marked as idempotent | no error |
 * | the address leads to a standby, and back | transactions alone; single statements; pins | all kinds of work go on |
 */
import { assert, describe, it } from "@effect/vitest"
import { Sql, SqlReason, Topology } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Duration, Effect, Fiber } from "effect"
import { eventually } from "../contract/contract.js"
import { counted, type Kind, kinds, logged, type Server } from "./pairs.js"
import { booksBalance, times } from "./rig.js"

interface Written {
  readonly ids: Array<string>
  readonly failures: Array<SqlReason.SqlReason>
}

/** Writers that insert one row after the other until they are interrupted. */
const writers = (count: number, kind: Kind, mark: (write: ReturnType<Kind["insert"]>) => typeof write) =>
  Effect.gen(function* () {
    const written: Written = { ids: [], failures: [] }
    let next = 0
    const one = Effect.suspend(() => {
      const id = `row ${++next}`
      return Effect.match(mark(kind.insert(id)), {
        onSuccess: () => void written.ids.push(id),
        onFailure: (error) => void written.failures.push(SqlReason.of(error))
      })
    })
    // Between two rows each makes a pause, so that a failure that comes at once does not fill the memory.
    const fiber = yield* Effect.forkScoped(times(count, Effect.forever(Effect.zipRight(one, Effect.sleep("2 millis")))))
    return { written, stop: Fiber.interrupt(fiber) }
  })

const goesOn = (written: Written) =>
  Effect.suspend(() => {
    const before = written.ids.length
    return eventually(
      "rows are written",
      Effect.sync(() => written.ids.length >= before + 50)
    )
  })

const countOf = (server: Server) => Effect.map(server.count, ([row]) => Number(row!.n))

for (const kind of kinds) {
  describe(`${kind.name}: a failover`, () => {
    it.scopedLive(
      "the replica is promoted after the primary has stopped: writes go there, those that waited with them, nothing is written twice",
      () =>
        Effect.gen(function* () {
          const [primary, replica] = yield* kind.pair
          const { layer, logs } = yield* logged
          yield* Effect.gen(function* () {
            const { written, stop } = yield* writers(20, kind, (write) => write)
            yield* goesOn(written)
            const reads = yield* Effect.fork(times(5, Effect.repeatN(Sql.read(Sql.query(counted)), 200)))
            yield* primary.stop
            const before = written.ids.length
            yield* replica.promote
            yield* goesOn(written)
            const topology = yield* Topology.Topology
            assert.include(topology.snapshot().primary.label, String(replica.port))
            assert.strictEqual((yield* Sql.stats).write.endpoint, topology.snapshot().primary.label)
            yield* stop
            yield* Fiber.join(reads)
            // Ten were in flight when the server stopped. Their callers cannot know what became of them.
            assert.isAtMost(written.failures.length, 10)
            for (const { _tag, outcome } of written.failures) {
              assert.include(["ConnectionLost", "ServerShutdown"], _tag)
              assert.strictEqual(outcome, "unknown")
            }
            const rows = yield* countOf(replica)
            assert.isAtLeast(written.ids.length, before + 50)
            assert.isAtMost(rows, written.ids.length + written.failures.length + 20, "rows that nobody knows of")
            yield* booksBalance
          }).pipe(Effect.provide(kind.client(primary, [replica])), Effect.provide(layer))
          assert.lengthOf(
            logs.filter((line) => line.startsWith("WARN") && line.includes("takes the writes now")),
            1
          )
        }),
      120_000
    )

    it.scopedLive(
      "with a hold, writes that may be repeated do not fail",
      () =>
        Effect.gen(function* () {
          const [primary, replica] = yield* kind.pair
          const { layer } = yield* logged
          yield* Effect.gen(function* () {
            const { written, stop } = yield* writers(20, kind, Sql.idempotent)
            yield* goesOn(written)
            yield* primary.stop
            yield* replica.promote
            yield* goesOn(written)
            yield* stop
            assert.deepStrictEqual(written.failures, [])
            yield* booksBalance
          }).pipe(
            Effect.provide(kind.client(primary, [replica], { failoverHold: "15 seconds" })),
            Effect.provide(layer)
          )
        }),
      120_000
    )

    it.scopedLive(
      "the address of the primary leads to a standby and back: every kind of work goes on, and nothing is lost or written twice",
      () =>
        Effect.gen(function* () {
          const [primary, standby] = yield* kind.pair
          const { layer } = yield* logged
          for (const work of ["transactions", "statements", "pins"] as const) {
            const path = yield* FaultProxy.make({ target: primary })
            yield* Effect.gen(function* () {
              const rows = yield* countOf(primary)
              const one = (id: string): Effect.Effect<unknown, unknown, Sql.Sql> =>
                work === "transactions"
                  ? Sql.withTransaction({ retry: true })(kind.insert(id))
                  : work === "statements"
                    ? kind.insert(id)
                    : Sql.withConnection(Effect.zipRight(kind.insert(id), Sql.query("select 1 as one")))
              const { written, stop } = yield* writers(10, { ...kind, insert: one }, Sql.idempotent)
              yield* goesOn(written)
              // The old connections end, and each new one reaches the standby.
              yield* path.aim(standby)
              yield* path.reset
              const topology = yield* Topology.Topology
              yield* eventually(
                "no server takes writes",
                Effect.sync(() => !topology.snapshot().isWritable)
              )
              const during = written.ids.length
              yield* path.aim(primary)
              const [back] = yield* Effect.timed(goesOn(written))
              assert.isBelow(Duration.toMillis(back), 15_000)
              yield* stop
              assert.isAtLeast(written.ids.length, during + 50)
              assert.strictEqual(topology.snapshot().replicas.length, 0)
              const known = written.ids.length
              const lost = written.failures.filter(({ outcome }) => outcome === "unknown").length
              const found = (yield* countOf(primary)) - rows
              assert.isAtLeast(found, known, work)
              // A statement whose answer was lost may have been executed before it was executed again.
              assert.isAtMost(found, known + lost + 2 * 10, work)
              // A pinned statement is not executed again unasked.
              const refused = written.failures.filter(({ _tag }) => _tag === "NotWritable")
              if (work !== "pins") assert.deepStrictEqual(refused, [])
              yield* booksBalance
            }).pipe(Effect.provide(kind.client(path, [])), Effect.provide(layer))
          }
        }),
      180_000
    )
  })
}
