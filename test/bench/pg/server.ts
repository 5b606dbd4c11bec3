import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { PgCluster } from "@sluice/testkit"
import { Effect, Redacted } from "effect"
import * as shared from "../sql/server.js"
import { documentBytes, documentCount, itemCount } from "../sql/workload.js"

export const serverSettings = {
  // All subjects of a scenario keep their connections while the others are measured.
  max_connections: 400,
  shared_buffers: "128MB",
  // Neither may start in the middle of one subject's round.
  autovacuum: false,
  checkpoint_timeout: "1h",
  max_wal_size: "4GB"
} as const

const schema = [
  "create table items (id integer primary key, name text not null, price integer not null)",
  `insert into items select n, 'item ' || n, n * 7 % 1000 from generate_series(1, ${itemCount}) n`,
  "create table documents (id integer primary key, body text not null)",
  "alter table documents alter body set storage external",
  `insert into documents select n, repeat('x', ${documentBytes}) from generate_series(1, ${documentCount}) n`,
  "create table events (id bigint generated always as identity primary key, item integer not null, note text not null)",
  "create table accounts (id integer primary key, balance integer not null) with (fillfactor = 50)",
  `insert into accounts select n, 0 from generate_series(1, ${itemCount}) n`,
  "vacuum (analyze, freeze)",
  "checkpoint"
]

export const farMillis = 60

const start = Effect.gen(function* () {
  const { primary } = yield* PgCluster.make({ settings: serverSettings })
  yield* Effect.forEach(schema, (statement) => primary.query(statement), { discard: true })
  const url = Redacted.value(primary.url)
  const pidFile = join(primary.dataDir, "postmaster.pid")
  const postmaster = existsSync(pidFile) ? Number.parseInt(readFileSync(pidFile, "utf8"), 10) : Number.NaN
  return {
    url,
    delayedUrl: yield* shared.delayed(primary, url),
    /** Behind a network as it is between two continents. */
    farUrl: yield* shared.delayed(primary, url, farMillis),
    cpu: () => shared.cpuOf(postmaster)
  }
})

export const startServer = (): Promise<shared.Server & { readonly farUrl: string }> => shared.startServer(start)
