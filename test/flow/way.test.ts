/**
 * The way of a short statement: a packed `select 1`, recorded when its bytes are written to the socket. The stack of that moment
 * has every function that hands the statement on after its fiber has begun to run it. What a file on the way costs, every short
 * statement pays; and a package that is entered twice knows something that belongs into another one.
 */
import { Socket } from "node:net"
import { SqlClient } from "@effect/sql"
import { assert, it } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Effect, Layer } from "effect"

/** Files of ours that a short statement may pass. */
const MOST_FILES = 10

interface Step {
  readonly package: string
  readonly file: string
  readonly what: string
}

/** The functions of our packages in a stack, the outermost first. */
const stepsOf = (stack: string): ReadonlyArray<Step> =>
  stack
    .split("\n")
    .flatMap((line): ReadonlyArray<Step> => {
      const [, name, file] = /packages\/([\w-]+)\/src\/([\w/]+\.ts)/.exec(line) ?? []
      if (name === undefined) return []
      return [{ package: name, file: `${name}/${file}`, what: /at (\S+) \(/.exec(line)?.[1] ?? "(a function)" }]
    })
    .reverse()

/** Runs `effect`, and gives the stack of each write to a socket by one of our packages meanwhile. */
const writesOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const { write } = Socket.prototype
      const { stackTraceLimit } = Error
      const writes: Array<ReadonlyArray<Step>> = []
      Error.stackTraceLimit = Infinity
      Socket.prototype.write = function (this: Socket, ...args: any) {
        const steps = stepsOf(new Error().stack ?? "")
        if (steps.length > 0) writes.push(steps)
        return (write as any).apply(this, args)
      }
      return { writes, write, stackTraceLimit }
    }),
    ({ writes }) => Effect.as(effect, writes),
    ({ stackTraceLimit, write }) =>
      Effect.sync(() => {
        Socket.prototype.write = write
        Error.stackTraceLimit = stackTraceLimit
      })
  )

/** The packages in the order in which they are entered. */
const entered = (steps: ReadonlyArray<Step>): ReadonlyArray<string> =>
  steps.flatMap((step, i) => (step.package === steps[i - 1]?.package ? [] : [step.package]))

const shown = (steps: ReadonlyArray<Step>): string =>
  `the way is now\n${steps.map(({ file, what }) => `  ${file} ${what}`).join("\n")}\n`

const drivers: Record<string, Layer.Layer<Sql.Sql | SqlClient.SqlClient, unknown>> = {
  "sql-pg": Layer.unwrapScoped(
    Effect.map(PgCluster.make(), ({ primary }) => PgSql.layer({ url: primary.url, pool: { maxSize: 1 } }))
  ),
  "sql-mysql2": Layer.unwrapScoped(
    Effect.map(MariaDbCluster.make(), ({ primary }) => MysqlSql.layer({ url: primary.url, pool: { maxSize: 1 } }))
  )
}

for (const [driver, client] of Object.entries(drivers)) {
  it.live(`a packed select 1 passes at most ${MOST_FILES} files, and crosses each border once: ${driver}`, () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const one = sql<{ n: number }>`select 1 as n`
      yield* Effect.replicateEffect(one, 20, { discard: true })
      // By now the text is known to be short. One execution in sixteen is measured, and then a mark is written before it.
      const [steps = []] = yield* Effect.repeat(writesOf(one), { until: (writes) => writes.length === 1, times: 20 })
      const files = new Set(steps.map(({ file }) => file))
      assert.deepStrictEqual(entered(steps), ["pool", "sql", driver], shown(steps))
      assert.isAtMost(files.size, MOST_FILES, shown(steps))
      assert.include([...files], "sql/driver/Packing.ts", shown(steps))
      const { write } = yield* Sql.stats
      assert.deepStrictEqual([write.using, write.waiting], [0, 0])
    }).pipe(Effect.provide(client))
  )
}
