/** Fifty workers: reads, writes and transfers, each of which is checked. */
import { Sql, SqlReason } from "@sluice/sql"
import { Cause, Clock, Effect, Exit, Fiber, Random, Stream } from "effect"
import type { Entry, Ledger } from "./ledger.js"
import type { Kind } from "./servers.js"

export const WORKERS = 50
export const ACCOUNTS = 100
export const MONEY = 1_000

/** What may become of a statement while its server is taken away. */
const EXPECTED: ReadonlyArray<SqlReason.Tag> = [
  "AcquireTimeout",
  "CommitUnknown",
  "ConnectFailed",
  "ConnectionLost",
  "DatabaseDown",
  "Deadlock",
  "NoReplica",
  "NotWritable",
  "SerializationFailure",
  "ServerShutdown",
  "StatementTimeout"
]

/** Ends of the caller's own time. */
const TOO_LATE: ReadonlyArray<SqlReason.Tag> = ["AcquireTimeout", "StatementTimeout"]

/** Milliseconds that a caller may be late, beside those for which this process itself was held up. */
const LATE = 500

/** Milliseconds after which work without a deadline hangs. */
const HANGS = 60_000

export const tables: ReadonlyArray<string> = [
  "create table accounts (id int primary key, balance bigint not null)",
  `insert into accounts values ${Array.from({ length: ACCOUNTS }, (_, id) => `(${id}, ${MONEY})`).join(", ")}`,
  "create table counters (id int primary key, n bigint not null)",
  `insert into counters values ${Array.from({ length: WORKERS }, (_, id) => `(${id}, 0)`).join(", ")}`,
  // No unique key, so that a row that is written twice is there twice.
  "create table entries (id varchar(40) not null, episode int not null)",
  "create index entries_id on entries (id)",
  "create index entries_episode on entries (episode)"
]

export interface Load {
  readonly kind: Kind
  readonly ledger: Ledger
  readonly seed: number
  /** Milliseconds for which this process was held up so far. */
  readonly heldUp: () => number
  /** Since when each worker is at its present work. */
  readonly since: Map<number, { readonly at: number; readonly what: string }>
}

type Work = Effect.Effect<unknown, unknown, Sql.Sql>

/** One worker. It ends when `isOver` says so, and never within its work. */
export const worker = ({ heldUp, kind, ledger, seed, since }: Load, n: number, isOver: () => boolean) => {
  const query = <A extends object>(text: string, params: ReadonlyArray<unknown> = []) =>
    Sql.query<A>(kind.text(text), params)
  let last = 0
  /** The counter of this worker: acknowledged, and asked for. */
  let written = 0
  let asked = 0

  const note = (what: string, exit: Exit.Exit<unknown, unknown>, hasOthers = false) => {
    if (Exit.isSuccess(exit)) return void ledger.done++
    if (Cause.isInterruptedOnly(exit.cause)) return
    const error = Cause.squash(exit.cause)
    const { _tag, outcome } = SqlReason.of(error)
    if (hasOthers && !TOO_LATE.includes(_tag)) {
      ledger.wrong("reads that failed although only replicas had faults", `${_tag}: ${String(error).slice(0, 300)}`)
    }
    if (EXPECTED.includes(_tag)) ledger.failures.set(_tag, (ledger.failures.get(_tag) ?? 0) + 1)
    else ledger.wrong(`${what} failed with ${_tag}, ${outcome}`, String(error).slice(0, 300))
  }

  const insert = (entry: Entry) => query("insert into entries values (?, ?)", [entry.id, entry.episode])

  /** A write with a number of its own. */
  const entering = (
    isOnce: boolean,
    work: (entry: Entry) => Work,
    around: (work: Work) => Work = (work) => work
  ): Work =>
    Effect.suspend(() => {
      const entry = ledger.open(`${n}-${++last}`, isOnce)
      return Effect.onExit(around(work(entry)), (exit) => Effect.sync(() => ledger.settle(entry, exit)))
    })

  const transfer = (entry: Entry): Work =>
    Effect.gen(function* () {
      const from = yield* Random.nextIntBetween(0, ACCOUNTS)
      const to = (from + (yield* Random.nextIntBetween(1, ACCOUNTS))) % ACCOUNTS
      const amount = yield* Random.nextIntBetween(1, 50)
      return yield* Effect.gen(function* () {
        yield* query("update accounts set balance = balance - ? where id = ?", [amount, from])
        yield* query("update accounts set balance = balance + ? where id = ?", [amount, to])
        yield* insert(entry)
      }).pipe(Sql.withTransaction({ retry: true }))
    })

  const sum = Effect.map(query<{ sum: unknown }>("select sum(balance) as sum from accounts"), ([row]) => {
    const found = Number(row?.sum)
    if (found !== ACCOUNTS * MONEY) ledger.wrong("reads that found another sum of money", String(found))
  })

  const stream = Effect.gen(function* () {
    const { client } = yield* Sql.Sql
    const rows = client.unsafe<{ balance: unknown }>("select balance from accounts").stream
    const [n, found] = yield* Stream.runFold(rows, [0, 0], ([n, found], { balance }) => [
      n! + 1,
      found! + Number(balance)
    ])
    if (n !== ACCOUNTS || found !== ACCOUNTS * MONEY) ledger.wrong("streams that ended early", `${n} rows, ${found}`)
  })

  const counter = Effect.map(query<{ n: unknown }>("select n from counters where id = ?", [n]), ([row]) =>
    Number(row?.n)
  )

  const count: Work = Effect.gen(function* () {
    // A write of which nothing was heard may come late, and must not undo a later one.
    const mine = ++asked
    yield* Sql.idempotent(query("update counters set n = greatest(n, ?) where id = ?", [mine, n]))
    written = mine
    const found = yield* counter
    if (found < mine) ledger.wrong("reads on the primary that missed a write of this worker", `${found} of ${mine}`)
  })

  const look: Work = Effect.map(Sql.read(counter), (found) => {
    if (!(found <= asked)) ledger.wrong("reads that found what nobody has written", `${found} of ${asked}`)
    else if (found < written) ledger.wrong("reads that missed a write of their own fiber", `${found} of ${written}`)
  })

  const pinned = (entry: Entry): Work =>
    Sql.withConnection(
      Effect.flatMap(insert(entry), () =>
        Effect.match(query<{ n: unknown }>("select count(*) as n from entries where id = ?", [entry.id]), {
          // What becomes of the read says nothing about the write.
          onFailure: (error) => note("a read in a pin", Exit.fail(error)),
          onSuccess: ([row]) => {
            if (Number(row?.n) !== 1) ledger.wrong("reads in a pin that missed its write", String(row?.n))
          }
        })
      )
    )

  const interrupted: Work = Effect.gen(function* () {
    const after = yield* Random.nextRange(0, 8)
    const work = (yield* Random.nextBoolean) ? entering(true, insert) : entering(true, transfer)
    const fiber = yield* Effect.fork(work)
    yield* Effect.sleep(after)
    const exit = yield* Fiber.interrupt(fiber)
    if (Exit.isFailure(exit) && !Cause.isInterrupted(exit.cause)) yield* exit
  })

  const works: ReadonlyArray<readonly [below: number, what: string, Work]> = [
    [25, "an insert", entering(true, insert)],
    [33, "an insert that may be repeated", entering(false, insert, Sql.idempotent)],
    [53, "a transfer", entering(true, transfer)],
    [63, "a count", count],
    [75, "a sum on a replica", Sql.read(sum)],
    [78, "a stream", Sql.read(stream)],
    [82, "a sum on the primary", sum],
    [90, "a look at the counter", look],
    [95, "a pin", entering(true, pinned)],
    [100, "interrupted work", interrupted]
  ]

  const one = Effect.gen(function* () {
    yield* Effect.sleep(yield* Random.nextRange(30, 200))
    const at = yield* Random.nextIntBetween(0, 100)
    const [, what, work] = works.find(([below]) => at < below)!
    const limit = (yield* Random.next) < 0.25 ? undefined : yield* Random.nextRange(200, 6_000)
    const before = performance.now()
    const heldUpBefore = heldUp()
    const troublesBefore = ledger.primaryTroubles
    since.set(n, { at: before, what })
    const now = yield* Clock.currentTimeMillis
    const exit = yield* Effect.exit(limit === undefined ? work : Sql.withDeadline(now + limit)(work))
    since.delete(n)
    const took = performance.now() - before
    const isRead = what === "a sum on a replica" || what === "a look at the counter"
    note(what, exit, isRead && troublesBefore % 2 === 0 && troublesBefore === ledger.primaryTroubles)
    if (limit !== undefined && took > limit + LATE + heldUp() - heldUpBefore) {
      ledger.wrong(`${what} was past its deadline`, `${Math.round(took)} ms, with ${Math.round(limit)} ms to live`)
    } else if (took > HANGS) ledger.wrong(`${what} took longer than a minute`, `${Math.round(took)} ms`)
  })

  return Effect.repeat(one, { until: isOver }).pipe(Effect.withRandom(Random.make(`${seed} ${n}`)), Effect.asVoid)
}
