import { readFileSync } from "node:fs"
import { join } from "node:path"
import { MariaDbCluster } from "@sluice/testkit"
import { Effect, Redacted } from "effect"
import * as shared from "../sql/server.js"
import { documentBytes, documentCount, itemCount } from "../sql/workload.js"

export const serverSettings = {
  // All subjects of a scenario keep their connections while the others are measured.
  max_connections: 400,
  innodb_buffer_pool_size: "256M",
  // Neither a checkpoint nor new statistics may come in the middle of one subject's round.
  innodb_log_file_size: "512M",
  innodb_stats_auto_recalc: false
} as const

const schema = [
  "create table items (id integer primary key, name varchar(40) not null, price integer not null)",
  `insert into items select seq, concat('item ', seq), seq * 7 % 1000 from seq_1_to_${itemCount}`,
  "create table documents (id integer primary key, body longtext not null)",
  `insert into documents select seq, repeat('x', ${documentBytes}) from seq_1_to_${documentCount}`,
  "create table events (id bigint auto_increment primary key, item integer not null, note text not null)",
  "create table accounts (id integer primary key, balance integer not null)",
  `insert into accounts select seq, 0 from seq_1_to_${itemCount}`,
  "analyze table items, documents, events, accounts"
]

const start = Effect.gen(function* () {
  const { primary } = yield* MariaDbCluster.make({ settings: serverSettings })
  yield* Effect.forEach(schema, (statement) => primary.query(statement), { discard: true })
  const server = Number(readFileSync(join(primary.dataDir, "mariadbd.pid"), "utf8"))
  const url = Redacted.value(primary.url)
  return { url, delayedUrl: yield* shared.delayed(primary, url), cpu: () => shared.cpuOf(server) }
})

export const startServer = (): Promise<shared.Server> => shared.startServer(start)
