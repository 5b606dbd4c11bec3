/**
 * What soaks have in common: claims with numbers, a line of progress each second, and a look at memory that does not count
 * what a collection would free.
 */
import { Socket } from "node:net"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { PoolStats } from "@sluice/pool/PoolStats"
import { Sql } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { type Duration, Effect, Redacted, Schedule } from "effect"
import Pg from "pg"

/** One sentence, and whether it held. */
export interface Claim {
  readonly name: string
  readonly holds: boolean
  readonly actual: string
  readonly limit: string
  /** A number that depends on the machine: shown, and not enforced where the machine is shared. */
  readonly isOfTheMachine?: boolean
}

export interface Settings {
  readonly seed: number
  /** Default: as long as the soak is meant to be. */
  readonly seconds?: number | undefined
  readonly rate?: number | undefined
  readonly rows?: number | undefined
  readonly pairs?: number | undefined
  /** Default: each. */
  readonly database?: "pg" | "mysql" | undefined
  readonly progress: (line: string) => void
}

export interface Soak {
  readonly name: string
  readonly summary: string
  readonly run: (settings: Settings) => Effect.Effect<ReadonlyArray<Claim>, unknown>
}

export const atMost = (name: string, actual: number, limit: number, unit = ""): Claim => ({
  name,
  holds: actual <= limit,
  actual: number(actual) + unit,
  limit: `at most ${number(limit)}${unit}`
})

export const atLeast = (name: string, actual: number, limit: number, unit = ""): Claim => ({
  name,
  holds: actual >= limit,
  actual: number(actual) + unit,
  limit: `at least ${number(limit)}${unit}`
})

export const exactly = (name: string, actual: number | string, limit: number | string): Claim => ({
  name,
  holds: actual === limit,
  actual: typeof actual === "number" ? number(actual) : actual,
  limit: typeof limit === "number" ? number(limit) : limit
})

export const isTrue = (name: string, actual: boolean): Claim => ({
  name,
  holds: actual,
  actual: actual ? "yes" : "no",
  limit: "yes"
})

/** After the pool has closed. */
export const opened = ({ closed, connects, size }: PoolStats, limit = connects): Claim =>
  exactly(
    "connections opened and closed",
    `${connects} opened, ${Object.values(closed).reduce((sum, n) => sum + n, 0)} closed, ${size} left`,
    `${limit} opened, ${limit} closed, 0 left`
  )

export const number = (n: number): string => n.toLocaleString("en", { maximumFractionDigits: n < 100 ? 1 : 0 })

setFlagsFromString("--expose-gc")
const gc: () => void = runInNewContext("gc")

const MIB = 1024 * 1024

/** Megabytes that this process holds now, whether they are needed or not. */
export const memory = (): number => {
  const { external, heapUsed } = process.memoryUsage()
  return (heapUsed + external) / MIB
}

/** Megabytes that this process needs: heap and what lies outside of it, after a collection. */
export const needed = Effect.sync(() => {
  gc()
  return memory()
})

/** Sockets that this process has open; a listening one is not among them. */
export const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length

/** The same, one by one, for somebody who looks for the reason. Node has no documented way to them. */
export const socketsOneByOne = (): ReadonlyArray<string> =>
  (process as unknown as { readonly _getActiveHandles: () => ReadonlyArray<unknown> })
    ._getActiveHandles()
    .filter((handle) => handle instanceof Socket)
    // A pipe that is written to is one of these as well.
    .filter((socket) => socket !== process.stdout && socket !== process.stderr)
    .map(
      (socket) =>
        `${socket.localPort} to ${socket.remotePort}: ${socket.readyState}, ${socket.bytesRead} bytes read, ${socket.bytesWritten} written${
          socket.isPaused() ? ", paused" : ""
        }${socket.readableEnded ? ", end seen" : ""}${socket.destroyed ? ", destroyed" : ""}`
    )

/** Whether it becomes true in time. */
export const within = <R>(limit: Duration.DurationInput, condition: Effect.Effect<boolean, never, R>) =>
  Effect.repeat(condition, { schedule: Schedule.spaced("10 millis"), until: (isTrue) => isTrue }).pipe(
    Effect.timeoutTo({ duration: limit, onSuccess: () => true, onTimeout: () => false })
  )

/** Nothing is leased, nobody waits, and nothing is being cleaned. */
export const balanced = Effect.map(Sql.stats, ({ read, write }) =>
  [write, ...read].every(
    (pool) => pool.using === 0 && pool.waiting === 0 && pool.quarantined === 0 && pool.resetting === 0
  )
)

/** Once a second, until the scope closes. */
export const everySecond = <R>(line: (second: number) => Effect.Effect<void, never, R>) => {
  let second = 0
  return Effect.suspend(() => line(++second)).pipe(
    Effect.delay("1 second"),
    Effect.forever,
    Effect.forkScoped,
    Effect.asVoid
  )
}

/**
 * A session beside the pool that asks the server. All other sessions of the server are ours: those that are being opened
 * have no name yet, and those whose client has gone are still there.
 */
export const witness = Effect.gen(function* () {
  const { primary } = yield* PgCluster.PgCluster
  const client = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new Pg.Client({ connectionString: Redacted.value(primary.url), application_name: "soak-witness" })
      await client.connect()
      return client
    }),
    (client) => Effect.promise(() => client.end())
  )
  const count = (what: string) =>
    Effect.map(
      Effect.promise(() => client.query(`select ${what}::int as n`)),
      ({ rows }) => rows[0].n as number
    )
  const others = "from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
  const sessions = count(`(select count(*) ${others})`)
  return {
    sessions,
    /** None of them is at work, or inside of a transaction. */
    isQuiet: Effect.map(count(`(select count(*) ${others} and state is distinct from 'idle')`), (n) => n === 0),
    isEmpty: Effect.map(sessions, (n) => n === 0),
    /** Sessions that the server has ever had. Each is counted, at the latest, when it has ended. */
    ever: count("(select sessions from pg_stat_database where datname = current_database())")
  }
})
