import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Effect, Exit, Redacted, Scope } from "effect"
import { documentBytes, documentCount, itemCount } from "./workload.js"

export interface Server {
  readonly url: string
  /** The same server behind a network whose round trip takes `roundTripMillis`. */
  readonly delayedUrl: string
  readonly cpu: () => number | undefined
  readonly close: () => Promise<void>
}

export const roundTripMillis = 4

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

/**
 * CPU of the server's process and those that it has started, to the nanosecond. On Linux only. What ended processes have
 * used is not in it, so it is right while connections stay.
 */
const cpuOf = (postmaster: number): number | undefined => {
  try {
    const read = (path: string): string => readFileSync(`/proc/${path}`, "utf8")
    const children = read(`${postmaster}/task/${postmaster}/children`)
    return [String(postmaster), ...children.trim().split(" ")]
      .map((pid) => Number(read(`${pid}/schedstat`).split(" ")[0]))
      .reduce((a, b) => a + b)
  } catch {
    return undefined
  }
}

/** One server for the whole run. It ends with `close`, and also when this process dies in any way. */
export const startServer = async (): Promise<Server> => {
  const scope = await Effect.runPromise(Scope.make())
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  const start = Effect.gen(function* () {
    const { primary } = yield* PgCluster.make({ settings: serverSettings })
    yield* Effect.forEach(schema, (statement) => primary.query(statement), { discard: true })
    const proxy = yield* FaultProxy.make({ target: primary })
    yield* proxy.delay(roundTripMillis / 2)
    return { primary, proxy }
  })
  try {
    const { primary, proxy } = await Effect.runPromise(Scope.extend(start, scope))
    const url = Redacted.value(primary.url)
    const pidFile = join(primary.dataDir, "postmaster.pid")
    const postmaster = existsSync(pidFile) ? Number.parseInt(readFileSync(pidFile, "utf8"), 10) : Number.NaN
    return {
      url,
      delayedUrl: url.replace(`:${primary.port}/`, `:${proxy.port}/`),
      cpu: () => cpuOf(postmaster),
      close
    }
  } catch (error) {
    await close()
    throw error
  }
}
