/** What a report must look like that another process has sent. Whatever else is in it is left out. */
import { Schema } from "effect"
import type { Report } from "../Report.js"
import { closeReasons, leakKinds } from "./poolWords.js"

/** Characters. A statement is shown with 4,096 of them. */
const LONGEST_TEXT = 10_000

/** Nobody has so many pools, and a board could not show them. */
const MOST = 1_000

/** Reasons of errors. */
const MOST_KEYS = 100

const { Boolean: Flag, JsonNumber: Num, Literal, UndefinedOr } = Schema

const Text = Schema.String.pipe(Schema.maxLength(LONGEST_TEXT))

const listOf = <A, I>(item: Schema.Schema<A, I>) => Schema.Array(item).pipe(Schema.maxItems(MOST))

const Counts = Schema.Record({ key: Text, value: Num }).pipe(
  Schema.filter((counts) => Object.keys(counts).length <= MOST_KEYS)
)

const all = <const K extends ReadonlyArray<string>>(...keys: K) =>
  Schema.Struct(Object.fromEntries(keys.map((key) => [key, Num])) as { readonly [L in K[number]]: typeof Num })

const failures = [
  "AcquireTimeout",
  "PoolSaturated",
  "PoolShed",
  "PoolClosed",
  "NestedAcquire",
  "ConnectFailed",
  "ConnectUnavailable",
  "Dismissed",
  "HookFailed"
] as const

const Distribution = all("count", "meanMs", "p50Ms", "p95Ms", "p99Ms", "maxMs")

const Pace = all("arrivalsPerSecond", "holdMeanMs")

const Retries = all("total", "denied")

const stats = {
  ...all(
    "size",
    "available",
    "using",
    "waiting",
    "connecting",
    "closing",
    "validating",
    "resetting",
    "quarantined",
    "max",
    "min",
    "oldestWaitMs",
    "oldestLeaseMs",
    "acquired",
    "timeouts",
    "saturated",
    "shed",
    "interrupted",
    "wouldShed",
    "lateGrants",
    "connects",
    "connectFailures",
    "lateReleases",
    "leaks",
    "reclaimed"
  ).fields,
  host: Literal("up", "failing", "down"),
  phase: Literal("running", "suspended", "draining", "closed"),
  isOverloaded: Flag,
  failed: all(...failures),
  closed: all(...closeReasons)
}

const Pool = Schema.Struct({
  ...stats,
  ...all("id", "latencyMs", "saturation", "usingMax", "waitingMax", "suspendedMs").fields,
  name: Text,
  endpoint: Text,
  role: Literal("primary", "replica"),
  isUp: Flag,
  isSilent: Flag,
  isLagging: Flag,
  lagMs: UndefinedOr(Num),
  queues: listOf(
    Schema.Struct({
      priority: Literal("critical", "high", "normal", "low", "background"),
      depth: Num,
      oldestMs: Num
    })
  ),
  waits: Distribution,
  waitsWithin: listOf(all("ms", "count")),
  holds: Distribution,
  connectTimes: Distribution,
  holders: listOf(
    Schema.Struct({
      ...all("connection", "heldMs", "idleMs").fields,
      serverPid: UndefinedOr(Num),
      kind: Literal(...leakKinds),
      activity: UndefinedOr(Text),
      span: UndefinedOr(Text)
    })
  ),
  acquireFailures: Counts,
  whatIf: listOf(all("maxSize", "waited", "waitP99Ms", "utilization")),
  lastTimeout: UndefinedOr(Schema.Struct({ at: Num, message: Text })),
  lastMinute: Schema.Struct({
    ...all("acquired", "connects", "connectFailures", "leaks").fields,
    acquireFailures: Counts,
    closed: Schema.partialWith(all(...closeReasons), { exact: true })
  }),
  now: Pace,
  usual: UndefinedOr(Pace),
  doing: all(...leakKinds),
  outage: UndefinedOr(Schema.Struct({ ...all("since", "attempts").fields, until: UndefinedOr(Num), message: Text }))
})

const Database = Schema.Struct({
  name: Text,
  system: UndefinedOr(Text),
  isWritable: Flag,
  pools: listOf(Pool),
  server: UndefinedOr(
    Schema.Struct({
      ...all("at", "connections", "maxConnections", "active").fields,
      idleInTransaction: UndefinedOr(Num)
    })
  ),
  retries: Retries,
  errors: Counts,
  lastMinute: Schema.Struct({ retries: Retries, errors: Counts })
})

const whole = Schema.Struct({
  version: Literal(1),
  pod: Text,
  ...all("pid", "at", "uptimeMs", "stallMs").fields,
  databases: listOf(Database)
})

/** Does not compile unless a reader has every field of a report, and of the right kind. */
export const schema: Schema.Schema<Report, typeof whole.Encoded> = whole
