/**
 * A thousand cancels a second on ten connections, and neighbours that must not notice.
 *
 * PostgreSQL's cancel is asynchronous and aims at a session, not at a statement: one that comes late hits whoever has the
 * session by then. So beside the statements that are interrupted there are others whose every answer is checked.
 */
import { Socket } from "node:net"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Cause, Clock, Effect, Exit, Fiber, Random } from "effect"
import {
  atLeast,
  atMost,
  balanced,
  opened as booksOf,
  everySecond,
  exactly,
  isTrue,
  memory,
  needed,
  number,
  type Settings,
  type Soak,
  sockets,
  within,
  witness
} from "./soak.js"

const MAX_SIZE = 10

/** Fibers whose statements are interrupted. More than connections, so that some are interrupted while they wait. */
const VICTIMS = 40

/** How often the server is asked for its sessions. */
const SAMPLE = "50 millis"

interface Counts {
  interrupted: number
  /** They were done before their interrupt came. */
  finished: number
  innocent: number
  backends: number
  /** The most at any time. */
  most: number
  /** What went wrong, how often, and the first time. */
  readonly wrong: Map<string, { times: number; readonly first: string }>
}

const applicationName = "soak-cancels"

/** Short as a rule, so it shares connections; when it is not, its neighbours wait for its cancel. */
const read = "select $1::int as n from pg_sleep($2::float8)"

const note = (counts: Counts, what: string, detail: string) =>
  Effect.sync(() => {
    const known = counts.wrong.get(what)
    if (known === undefined) counts.wrong.set(what, { times: 1, first: detail })
    else known.times++
  })

const failed = (counts: Counts, who: string, cause: Cause.Cause<unknown>) => {
  const error = Cause.squash(cause)
  const { _tag, code } = SqlReason.of(error)
  return note(counts, `${who} failed with ${_tag} ${code ?? ""}`.trim(), String(error).slice(0, 200))
}

const sleep = (from: number, to: number) =>
  Effect.flatMap(Random.nextRange(from, to), (seconds) => Sql.query("select pg_sleep($1::float8)", [seconds]))

/** What is interrupted: up to which percentage, and within how many milliseconds. */
const victims: ReadonlyArray<readonly [below: number, within: number, Effect.Effect<unknown, unknown, Sql.Sql>]> = [
  [40, 4, sleep(60, 60)],
  // Their cancels are under way while they end by themselves, and must not find the next one.
  [65, 8, sleep(0.001, 0.008)],
  [70, 10, Sql.withConnection(Effect.zipRight(Sql.query("select 1"), sleep(0.002, 0.008)))],
  [80, 4, Effect.flatMap(Random.nextRange(0.005, 0.03), (seconds) => Sql.query(read, [1, seconds]))],
  [85, 2, Sql.query(read, [1, 0])],
  [92, 3, Sql.query("update victims set n = n + 1 where id = (random() * 99)::int")],
  [
    100,
    6,
    Sql.withTransaction(
      Effect.zipRight(Sql.query("update victims set n = n + 1 where id = (random() * 99)::int"), sleep(60, 60))
    )
  ]
]

const victim = (counts: Counts) =>
  Effect.gen(function* () {
    const at = yield* Random.nextIntBetween(0, 100)
    const [, latest, statement] = victims.find(([below]) => at < below)!
    const fiber = yield* Effect.fork(statement)
    yield* Effect.sleep((yield* Random.next) * latest)
    const exit = yield* Fiber.interrupt(fiber)
    if (Exit.isSuccess(exit)) counts.finished++
    else if (Exit.isInterrupted(exit)) counts.interrupted++
    else yield* failed(counts, "an interrupted statement", exit.cause)
  })

/** Answers are known beforehand: nobody else touches these rows. */
const innocents = (counts: Counts): ReadonlyArray<Effect.Effect<void, unknown, Sql.Sql>> => {
  const check = (who: string, got: unknown, expected: unknown) =>
    got === expected
      ? Effect.sync(() => counts.innocent++)
      : note(counts, `${who} got a wrong answer`, `${got} instead of ${expected}`)
  const forever = (who: string, work: Effect.Effect<unknown, unknown, Sql.Sql>) =>
    work.pipe(
      Effect.catchAllCause((cause) =>
        Cause.isInterruptedOnly(cause) ? Effect.failCause(cause) : failed(counts, who, cause)
      ),
      Effect.zipRight(Effect.sleep("2 millis")),
      Effect.forever
    )
  const reader = Effect.gen(function* () {
    const n = yield* Random.nextIntBetween(0, 1_000_000)
    const [row] = yield* Sql.query<{ n: number }>(read, [n, 0])
    yield* check("a packed read", row?.n, n)
  })
  const one = (text: string, id: number) => Effect.map(Sql.query<{ n: number }>(text, [id]), ([row]) => row?.n ?? NaN)
  const get = "select n from innocents where id = $1"
  const add = "update innocents set n = n + 1 where id = $1 returning n"
  const writer = (id: number) =>
    Effect.flatMap(one(get, id), (n) => {
      let expected = n
      return forever(
        "a write",
        Effect.flatMap(one(add, id), (n) => check("a write", n, ++expected))
      )
    })
  const transaction = (id: number) =>
    Sql.withTransaction(
      Effect.flatMap(one(get, id), (before) =>
        Effect.flatMap(one(add, id), (after) => check("a transaction", after, before + 1))
      )
    )
  return [
    ...Array.from({ length: 8 }, () => forever("a packed read", reader)),
    ...Array.from({ length: 6 }, (_, id) => writer(id)),
    forever("a transaction", transaction(6))
  ]
}

const load = (
  { progress, rate = 1_100, seconds = 30, seed }: Settings,
  counts: Counts,
  cancelRequests: Effect.Effect<number>
) =>
  Effect.gen(function* () {
    const began = yield* Clock.currentTimeMillis
    let last = { interrupted: counts.interrupted, innocent: counts.innocent, requests: yield* cancelRequests }
    yield* everySecond((second) =>
      Effect.map(cancelRequests, (sent) => {
        const now = { interrupted: counts.interrupted, innocent: counts.innocent, requests: sent }
        progress(
          `${String(second).padStart(3)} s   ${number(now.interrupted - last.interrupted).padStart(6)} interrupts   ${number(
            now.requests - last.requests
          ).padStart(6)} cancel requests   ${number(now.innocent - last.innocent).padStart(6)} checked answers   ${
            counts.backends
          } of ${MAX_SIZE} sessions   ${number(memory())} MiB`
        )
        last = now
      })
    )
    let begun = 0
    const interrupting = Effect.gen(function* () {
      // All of them together keep the pace; one that comes late does not wait.
      const due = began + (begun++ * 1_000) / rate
      const now = yield* Clock.currentTimeMillis
      if (due > now) yield* Effect.sleep(due - now)
      yield* victim(counts)
    }).pipe(Effect.forever)
    yield* Effect.forEach(
      [...Array.from({ length: VICTIMS }, () => interrupting), ...innocents(counts)],
      (fiber) => Effect.forkScoped(fiber),
      { discard: true }
    )
    yield* Effect.sleep(seconds * 1_000)
    return (yield* Clock.currentTimeMillis) - began
  }).pipe(Effect.scoped, Effect.withRandom(Random.make(seed)))

const run = (settings: Settings) =>
  Effect.gen(function* () {
    const { primary } = yield* PgCluster.PgCluster
    const counts: Counts = { interrupted: 0, finished: 0, innocent: 0, backends: 0, most: 0, wrong: new Map() }
    const server = yield* witness
    const socketsBefore = sockets()
    const sessionsBefore = yield* server.ever
    yield* Effect.map(server.sessions, (n) => {
      counts.backends = n
      counts.most = Math.max(counts.most, n)
    }).pipe(Effect.zipRight(Effect.sleep(SAMPLE)), Effect.forever, Effect.forkScoped)
    let opened = 0
    const stream = () => {
      opened++
      return new Socket()
    }
    const { claims, service } = yield* Effect.gen(function* () {
      const service = yield* Sql.Sql
      // A cancel has a socket of its own.
      const cancelRequests = Effect.map(service.stats, ({ write }) => opened - write.connects - write.connectFailures)
      yield* Sql.query("create table victims (id int primary key, n int not null)")
      yield* Sql.query("create table innocents (id int primary key, n int not null)")
      yield* Sql.query("insert into victims select g, 0 from generate_series(0, 99) g")
      yield* Sql.query("insert into innocents select g, 0 from generate_series(0, 9) g")
      // What is made once, for all connections, is not growth.
      yield* load(
        { ...settings, seconds: Math.min(1, (settings.seconds ?? 30) / 4), progress: () => {} },
        counts,
        cancelRequests
      )
      const before = { ...counts, memory: yield* needed, requests: yield* cancelRequests }
      const elapsed = (yield* load(settings, counts, cancelRequests)) / 1_000
      const requests = (yield* cancelRequests) - before.requests
      const isQuiet = yield* within("1 second", server.isQuiet)
      const isBalanced = yield* within("3 seconds", balanced)
      const { closed } = (yield* service.stats).write
      settings.progress(
        `${number(requests)} cancel requests (${number(requests / elapsed)} a second), ${number(
          counts.innocent - before.innocent
        )} checked answers; ${number(counts.finished - before.finished)} statements were done before their interrupt`
      )
      return {
        service,
        claims: [
          {
            ...atLeast("interrupted statements a second", (counts.interrupted - before.interrupted) / elapsed, 1_000),
            isOfTheMachine: true
          },
          atLeast("cancels that were sent to the server", requests, 1),
          atLeast("answers that were checked", counts.innocent - before.innocent, 1),
          isTrue("the server runs nothing of ours, 1 s later", isQuiet),
          isTrue("the books balance", isBalanced),
          exactly("connections closed for an error", closed.error, 0),
          atMost("memory that stays, after a collection", (yield* needed) - before.memory, 16, " MiB")
        ]
      }
    }).pipe(Effect.provide(PgSql.layer({ url: primary.url, applicationName, stream, pool: { maxSize: MAX_SIZE } })))
    const { write } = yield* service.stats
    return [
      ...claims,
      atMost("sessions on the server at any time", counts.most, MAX_SIZE),
      ...(counts.wrong.size === 0
        ? [exactly("statements that failed or got a wrong answer", 0, 0)]
        : Array.from(counts.wrong, ([what, { first, times }]) => exactly(`${what} (${first})`, times, 0))),
      booksOf(write),
      isTrue("no session is left on the server, 1 s later", yield* within("1 second", server.isEmpty)),
      exactly(
        "sessions that the server has had, beyond our connects",
        (yield* server.ever) - sessionsBefore - write.connects,
        0
      ),
      exactly("sockets that are left", sockets() - socketsBefore, 0)
    ]
  }).pipe(Effect.scoped, Effect.provide(PgCluster.layer()))

export const cancels: Soak = {
  name: "cancels",
  summary: "1,000 interrupts a second on 10 connections; no neighbour notices",
  run
}
