/** The same client, measured more or less. */
import { Telemetry } from "@sluice/observability"
import { PgSql } from "@sluice/sql-pg"
import { Layer, Redacted } from "effect"
import * as clients from "../sql/clients.js"
import type { SqlSettings } from "../sql/workload.js"

const client = (settings: SqlSettings) =>
  PgSql.layer({ url: Redacted.make(settings.url), pool: clients.poolOf(settings) })

const measured = (level: "basic" | "full") =>
  clients.sluiceQuery((settings) => Layer.merge(Telemetry.layer({ level }), client(settings)))

export const without = clients.sluiceQuery(client)

export const basic = measured("basic")

export const full = measured("full")
