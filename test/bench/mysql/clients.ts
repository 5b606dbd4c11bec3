/** The Layer of `@effect/sql-mysql2`, and ours. */
import { MysqlClient } from "@effect/sql-mysql2"
import { MysqlSql } from "@sluice/sql-mysql2"
import { Redacted } from "effect"
import * as clients from "../sql/clients.js"
import { layerSubject } from "../sql/layers.js"
import type { SqlSettings } from "../sql/workload.js"

const ours = (settings: SqlSettings) =>
  MysqlSql.layer({ url: Redacted.make(settings.url), pool: clients.poolOf(settings) })

export const sluiceQuery = clients.sluiceQuery(ours)

export const sluiceClient = clients.sluiceClient(ours)

/** With a `url`, its pool keeps idle connections; with `host` and `port` it would close them. */
export const effectClient = clients.effectClient(({ connections, url }) =>
  MysqlClient.layer({ url: Redacted.make(url), maxConnections: connections, connectionTTL: "1 hour" })
)

export const sluiceLayer = layerSubject(({ url }) => MysqlSql.layer({ url: Redacted.make(url) }))

export const effectLayer = layerSubject(({ url }) => MysqlClient.layer({ url: Redacted.make(url) }))
