/** The whole program as one Layer: requests and background work share the pools, because they share the Layer. */
import { PgSql } from "@sluice/sql-pg"
import type { PgCluster } from "@sluice/testkit"
import { Layer } from "effect"
import * as App from "./App.js"
import * as Schema from "./Schema.js"
import * as Sync from "./Sync.js"

/** The name under which the servers know our sessions (`pg_stat_activity`). */
export const applicationName = "payments"

/** Connections of each pool. */
export const maxSize = 10

export const layer = ({ primary, replicas }: PgCluster.PgCluster, options: { readonly port: number }) =>
  Layer.mergeAll(App.layer(options), Sync.layer).pipe(
    Layer.provide(Layer.effectDiscard(Schema.create)),
    Layer.provideMerge(
      PgSql.layer({
        applicationName,
        primary: { url: primary.url },
        replicas: replicas.map(({ url }) => ({ url })),
        pool: {
          name: "payments",
          maxSize,
          // A fixed size: better ten idle connections than connects in the rush hour, or after a restart.
          minIdle: maxSize,
          acquireTimeout: "5 seconds",
          // Background work may queue in thousands; it is served last and costs memory only.
          maxWaiters: 10_000,
          drainTimeout: "3 seconds"
        }
      })
    )
  )
