/** The Layer of `@effect/sql-pg`, and ours. */
import { PgClient } from "@effect/sql-pg"
import { PgSql } from "@sluice/sql-pg"
import { Redacted } from "effect"
import * as clients from "../sql/clients.js"
import { layerSubject } from "../sql/layers.js"
import type { SqlSettings } from "../sql/workload.js"

const ours = (settings: SqlSettings) =>
  PgSql.layer({ url: Redacted.make(settings.url), pool: clients.poolOf(settings) })

export const sluiceQuery = clients.sluiceQuery(ours)

export const sluiceClient = clients.sluiceClient(ours)

export const effectClient = clients.effectClient(({ connections, url }) =>
  PgClient.layer({
    url: Redacted.make(url),
    maxConnections: connections,
    minConnections: connections,
    idleTimeout: "1 hour"
  })
)

export const sluiceLayer = layerSubject(({ url }) => PgSql.layer({ url: Redacted.make(url) }))

export const effectLayer = layerSubject(({ url }) => PgClient.layer({ url: Redacted.make(url) }))
