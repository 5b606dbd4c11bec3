/**
 * One runner of a cluster, as a process of its own: `tsx runner.ts '<Given as JSON>'`. Says on stdout, as lines of JSON, when it is
 * ready, and after SIGTERM how the books of its pool stand once everything has closed.
 */
import { ClusterCron, RunnerAddress, type ShardingConfig } from "@effect/cluster"
import { NodeClusterSocket } from "@effect/platform-node"
import { CurrentPriority } from "@sluice/pool/Priority"
import { Sql } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { Cron, Effect, Layer, Option, Redacted } from "effect"

/** What the test tells it. */
export interface Given {
  readonly driver: "postgresql" | "mysql"
  readonly url: string
  readonly applicationName: string
  readonly port: number
  /** A table with the columns id, runner, began and ended. */
  readonly runs: string
  /** Milliseconds that each run takes. */
  readonly takes: number
}

/** What it says. */
export type Said =
  | { readonly tag: "ready" }
  | {
      readonly tag: "closed"
      readonly opened: number
      readonly closed: number
      readonly using: number
      readonly waiting: number
    }

const given: Given = JSON.parse(process.argv[2]!)

const say = (said: Said) => Effect.sync(() => void process.stdout.write(`${JSON.stringify(said)}\n`))

const options = {
  url: Redacted.make(given.url),
  applicationName: given.applicationName,
  // One for the session that holds the locks, one for everything else that the cluster does.
  pool: { maxSize: 4, reserved: 2 }
}

const SqlLive =
  given.driver === "postgresql" ? PgSql.layer(options) : MysqlSql.layer({ ...options, multipleStatements: true })

const now = given.driver === "postgresql" ? "clock_timestamp()" : "now(6)"

/** The job: writes down when it began, and when it ended. */
const work = Effect.gen(function* () {
  const { client: sql } = yield* Sql.Sql
  const id = crypto.randomUUID()
  yield* sql`insert into ${sql(given.runs)} (id, runner, began) values (${id}, ${given.port}, ${sql.literal(now)})`
  yield* Effect.sleep(given.takes)
  yield* sql`update ${sql(given.runs)} set ended = ${sql.literal(now)} where id = ${id}`
}).pipe(Sql.withPriority("background"), Sql.withAcquireTimeout("1 second"))

/** The waits of the cluster are short, so that a test need not last a minute. */
const ClusterLive = NodeClusterSocket.layer({
  storage: "sql",
  shardingConfig: {
    runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", given.port)),
    shardsPerGroup: 10,
    shardLockRefreshInterval: "2 seconds",
    shardLockExpiration: "6 seconds",
    entityMessagePollInterval: "200 millis",
    entityReplyPollInterval: "50 millis",
    sendRetryInterval: "50 millis",
    refreshAssignmentsInterval: "300 millis",
    runnerHealthCheckInterval: "500 millis",
    entityTerminationTimeout: "2 seconds"
  } satisfies Partial<ShardingConfig.ShardingConfig["Type"]>
}).pipe(
  // The connection that holds the locks of the shards, and what keeps them, come before everything else.
  Layer.provide(Layer.succeed(CurrentPriority, "critical"))
)

const CronLive = ClusterCron.make({
  name: "sync",
  cron: Cron.unsafeParse("* * * * * *"),
  execute: work,
  // The times follow from each other, so that a runner which takes the job over does not begin a second row of them.
  calculateNextRunFromPrevious: true,
  skipIfOlderThan: "10 seconds"
})

const main = Effect.gen(function* () {
  const sql = yield* Effect.scoped(
    Effect.gen(function* () {
      const context = yield* Layer.build(Layer.provideMerge(CronLive.pipe(Layer.provideMerge(ClusterLive)), SqlLive))
      yield* say({ tag: "ready" })
      const stopped = Effect.async<void>((resume) => {
        process.once("SIGTERM", () => resume(Effect.void))
      })
      yield* stopped
      return yield* Effect.provide(Sql.Sql, context)
    })
  )
  const { closed, connects, using, waiting } = (yield* sql.stats).write
  const shut = Object.values(closed).reduce((a, b) => a + b, 0)
  yield* say({ tag: "closed", opened: connects, closed: shut, using, waiting })
})

Effect.runFork(main).addObserver((exit) => {
  if (exit._tag === "Failure") process.stderr.write(`${String(exit.cause)}\n`)
  process.exit(exit._tag === "Success" ? 0 : 1)
})
