import { ClusterCron, RunnerAddress } from "@effect/cluster"
import { NodeClusterSocket } from "@effect/platform-node"
import { CurrentPriority } from "@sluice/pool/Priority"
import { PgSql, Sql } from "@sluice/sql-pg"
import { Cron, Effect, Layer, Option, Redacted } from "effect"

const SqlLive = PgSql.layer({
  url: Redacted.make("postgres://app@db-1/pay"),
  pool: { maxSize: 12, reserved: 2 }
})

const ClusterLive = NodeClusterSocket.layer({
  storage: "sql",
  shardingConfig: { runnerAddress: Option.some(RunnerAddress.make("10.0.0.7", 34431)) }
}).pipe(Layer.provide(Layer.succeed(CurrentPriority, "critical")))

const SyncJob = ClusterCron.make({
  name: "sync",
  cron: Cron.unsafeParse("*/30 * * * * *"),
  calculateNextRunFromPrevious: true,
  execute: Sql.query("update payments set synced = true where not synced").pipe(
    Effect.timeout("10 seconds"),
    Sql.withPriority("background"),
    Sql.withAcquireTimeout("1 second")
  )
})

export const Main = SyncJob.pipe(Layer.provide(ClusterLive), Layer.provide(SqlLive))
