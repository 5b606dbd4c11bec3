/** A PostgreSQL with a replica, a program with four pools to it, and those who watch them. */
import { bounded, judged } from "@sluice/example-program/work"
import { Alerts, Board, Recorder, Verdict } from "@sluice/observability"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Array as Arr, Clock, Console, Context, Data, Effect, Fiber, Layer, Ref, Schedule, Stream } from "effect"
import * as Claims from "./Claims.js"
import { type Incident, incidents, maxSize } from "./Incidents.js"

const user = "sluice"

/** Milliseconds. */
const idleTimeout = 10_000

/** How long the caller of this demo waits. The pools would let it wait for 30 seconds. */
const patience = "6 seconds"

/** The pool was not used up after all. */
class Served extends Data.TaggedError("Served")<{ readonly pool: string }> {
  override get message() {
    return `somebody who should have waited in vain got a connection of pool "${this.pool}". On a busy machine, run it again.`
  }
}

/** Awaits a condition, however long it takes. */
const until = <E, R>(isMet: Effect.Effect<boolean, E, R>): Effect.Effect<unknown, E, R> =>
  Effect.repeat(isMet, { until: (isMet) => isMet, schedule: Schedule.spaced("50 millis") })

/** A pool of its own for each incident, so that they can be watched side by side. */
const pools = ({ primary, replicas }: PgCluster.PgCluster, { name }: Pick<Incident, "name">) =>
  Effect.gen(function* () {
    const before = yield* Ref.make(0)
    const after = yield* Ref.make(0)
    const context = yield* Layer.build(
      PgSql.layer({
        primary: { url: primary.url },
        replicas: replicas.map(({ url }) => ({ url })),
        pool: { name, maxSize, minIdle: 0, acquireTimeout: "30 seconds", idleTimeout },
        hooks: {
          beforeAcquire: () => Ref.update(before, (n) => n + 1),
          afterAcquire: () => Ref.update(after, (n) => n + 1)
        },
        // Only because this demo has four programs in one process, which would be told so.
        duplicates: "allow"
      })
    )
    return { context, sql: Context.get(context, Sql.Sql), hooks: { before: Ref.get(before), after: Ref.get(after) } }
  })

/** Begins the incident, and gives what ends it. */
const begin = ({ caller, callers }: Incident, context: Context.Context<Sql.Sql>) =>
  Effect.map(
    Effect.forEach(Arr.range(1, callers), () => Effect.forkScoped(Effect.provide(Effect.ignore(caller), context))),
    Fiber.interruptAll
  )

/** The alerts of this process, as they come. */
const alertsOf = Effect.gen(function* () {
  const alerts: Array<Alerts.Transition> = []
  yield* Alerts.stream().pipe(
    Stream.runForEach((transition) => Effect.sync(() => void alerts.push(transition))),
    Effect.forkScoped
  )
  return alerts
})

const show = (cluster: PgCluster.PgCluster, incident: Incident, alerts: ReadonlyArray<Alerts.Transition>) =>
  Effect.gen(function* () {
    const { report } = yield* Recorder.Recorder
    const { context, hooks, sql } = yield* pools(cluster, incident)
    const write = Effect.map(sql.stats, ({ write }) => write)
    const end = yield* begin(incident, context)
    yield* until(Effect.map(write, ({ using, waiting }) => using === maxSize && using + waiting >= incident.callers))
    const failure = yield* Sql.query("select 1 from payments limit 1").pipe(
      Sql.withConnection({ acquireTimeout: patience }),
      Effect.provide(context),
      Effect.flip,
      Effect.mapError(() => new Served({ pool: incident.name }))
    )
    const stats = yield* sql.stats
    const isHere = ({ pool }: { readonly pool: string | undefined }) => pool === incident.name
    const alert = Effect.sync(() => alerts.find((one) => isHere(one) && one.alert === "SluicePoolExhausted"))
    yield* Effect.timeoutOption(until(Effect.map(alert, (found) => found !== undefined)), "10 seconds")
    const { reasons } = Verdict.of([yield* report()])
    yield* Console.log(`${incident.name.padEnd(10)} ${SqlReason.of(failure)._tag}: ${failure.message}\n`)
    yield* end
    const endedAt = yield* Clock.currentTimeMillis
    yield* until(Effect.map(write, ({ closing, size }) => size + closing === 0))
    return {
      incident,
      error: failure.message,
      write: stats.write,
      read: stats.read[0]!,
      reasons: reasons.filter(({ where }) => where === incident.name),
      alert: yield* alert,
      hooks: { before: yield* hooks.before, after: yield* hooks.after },
      emptyAfterMs: (yield* Clock.currentTimeMillis) - endedAt,
      last: yield* write
    } satisfies Claims.Seen
  }).pipe(Effect.scoped)

const server = Effect.gen(function* () {
  yield* Console.log("a PostgreSQL with a replica, and four pools: max 5, min 0, acquire 30 s, idle 10 s …")
  const cluster = yield* PgCluster.make({ replicas: 1 })
  yield* cluster.primary.query("create table payments (id serial primary key, state text not null)")
  return cluster
})

const evidence = Effect.gen(function* () {
  const cluster = yield* server
  const alerts = yield* alertsOf
  yield* Console.log(`each is used up in its own way, and then somebody waits for ${patience} …\n`)
  const seen = yield* Effect.forEach(incidents, (incident) => show(cluster, incident, alerts), {
    concurrency: "unbounded"
  })
  const left = Effect.map(cluster.primary.activity, (all) => all.filter((session) => session.user === user).length)
  return { seen, sessions: yield* left } satisfies Claims.Evidence
}).pipe(Effect.scoped, Effect.provide(Recorder.layer()))

export const main = bounded(evidence, "2 minutes").pipe(
  Effect.flatMap((found) => judged(Claims.judge(found, idleTimeout)))
)

/** Each incident in turn, for those who look at the board. */
export const serve = Effect.gen(function* () {
  const cluster = yield* server
  yield* Layer.build(Board.layer({ port: 0 }))
  yield* Console.log("Open it in a browser, or type: npx pnpm sluice top <address>. Ctrl-C ends it.")
  const all = yield* Effect.forEach(incidents, (incident) =>
    Effect.map(pools(cluster, incident), ({ context }) => ({ incident, context }))
  )
  const turn = ({ context, incident }: (typeof all)[number]) =>
    Effect.gen(function* () {
      yield* Console.log(`${incident.name}: ${incident.cause}`)
      yield* begin(incident, context)
      yield* Effect.sleep("25 seconds")
    }).pipe(Effect.scoped, Effect.zipRight(Effect.sleep("15 seconds")))
  return yield* Effect.forever(Effect.forEach(all, turn))
}).pipe(Effect.scoped)
