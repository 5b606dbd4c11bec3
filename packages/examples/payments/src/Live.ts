/** The whole program as one Layer. Requests and background work share the pools because they share this Layer. */
import { PgSql } from "@sluice/sql-pg"
import type { PgCluster } from "@sluice/testkit"
import { Layer } from "effect"
import * as App from "./App.js"
import * as Schema from "./Schema.js"
import * as Sync from "./Sync.js"

/** The name under which the servers know our sessions (`pg_stat_activity`). */
export const applicationName = "payments"

/** The name of the pool to the server that is configured as the primary. */
export const poolName = "payments"

/** Connections of each pool. */
export const maxSize = 10

export const layer = ({ primary, replicas }: PgCluster.PgCluster, options: App.Options) =>
  Layer.mergeAll(App.layer(options), Sync.layer).pipe(
    Layer.provide(Layer.effectDiscard(Schema.create)),
    Layer.provideMerge(
      PgSql.layer({
        applicationName,
        primary: { url: primary.url },
        replicas: replicas.map(({ url }) => ({ url })),
        // Payments wait while no server takes writes. They go on as soon as the replica was promoted.
        failoverHold: "5 seconds",
        pool: {
          name: poolName,
          maxSize,
          // A fixed size: ten idle connections cost less than connects during the rush hour or after a restart.
          minIdle: maxSize,
          acquireTimeout: "5 seconds",
          // Thousands of background statements may queue: they are served last, and a waiter costs only memory.
          maxWaiters: 10_000,
          drainTimeout: "3 seconds"
        }
      })
    )
  )
