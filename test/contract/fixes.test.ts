/**
 * Where the original is wrong and we are right. Each row runs one scenario twice: on ours, which must do the right thing, and
 * on the original, which must do the documented wrong one; so no row can pass without testing anything, and a row whose
 * fault the original has repaired shows itself.
 *
 * What hangs on the original hangs in fibers of its own: see `onOriginal`.
 */
import * as Net from "node:net"
import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Cause, Effect, Exit, Fiber, Layer, Option, Queue, Redacted, Scope, Stream } from "effect"
import { describe } from "vitest"
import { eventually, idsOf, runOn, table, timed, unique } from "./contract.js"
import * as Drivers from "./drivers.js"

type Body<A> = (
  applicationName: string,
  /** Milliseconds after which something counts as hanging. What hangs on the original need not be awaited for long. */
  patience: number
) => Effect.Effect<A, unknown, Drivers.Client | PgCluster.PgCluster | Scope.Scope>

/** What an effect has come to after so many milliseconds; what is not done goes on alone. */
const after = <A, E, R>(milliseconds: number, effect: Effect.Effect<A, E, R>): Effect.Effect<A | "not done", E, R> =>
  effect.pipe(
    Effect.disconnect,
    Effect.timeoutTo({ duration: milliseconds, onSuccess: (a: A) => a as A | "not done", onTimeout: () => "not done" })
  )

const ours = Drivers.driver("@sluice/sql-pg")
const original = Drivers.driver("@effect/sql-pg")

/**
 * The original leaves fibers that cannot be interrupted and connections that nobody gives back: its sessions are ended on
 * the server, and its Layer is closed in the background.
 */
const onOriginal = <A>(options: Drivers.Options, body: Body<A>) =>
  Effect.gen(function* () {
    const { primary } = yield* PgCluster.PgCluster
    const applicationName = unique("original")
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(
      original.layer({ url: primary.url, applicationName, ...options }),
      scope
    )
    return yield* body(applicationName, 700).pipe(
      Effect.scoped,
      Effect.disconnect,
      Effect.timeoutFail({ duration: "12 seconds", onTimeout: () => new Error("the scenario itself hangs") }),
      Effect.provide(context),
      Effect.ensuring(Effect.forkDaemon(Scope.close(scope, Exit.void))),
      Effect.ensuring(Effect.ignore(primary.terminateBackends({ applicationName })))
    )
  })

/** Ours, with the books checked at the end. */
const onOurs = <A>(options: Drivers.Options, body: Body<A>) => {
  const applicationName = unique("ours")
  return runOn(ours)({ applicationName, ...options }, Effect.scoped(body(applicationName, 2_000)))
}

const active = (applicationName: string, text = "") =>
  Effect.flatMap(PgCluster.PgCluster, ({ primary }) =>
    Effect.map(
      primary.activity,
      (all) =>
        all.filter(
          (one) => one.applicationName === applicationName && one.state === "active" && one.query.includes(text)
        ).length
    )
  )

const running = (applicationName: string, text: string) =>
  eventually(
    `${text} runs`,
    Effect.map(active(applicationName, text), (n) => n > 0)
  )

const sleep = (seconds: number) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.asVoid(sql.unsafe(`select pg_sleep(${seconds})`)))

const codeOf = (error: unknown) =>
  ((error as SqlError | undefined)?.cause as { readonly code?: string } | undefined)?.code

/** In one word: how an effect has ended. */
const verdict = <A, E>(exit: Exit.Exit<A, E>) =>
  Exit.match(exit, {
    onSuccess: () => "success",
    onFailure: (cause) =>
      Cause.isDie(cause)
        ? "defect"
        : Cause.isInterrupted(cause) && Cause.isEmpty(Cause.stripFailures(cause))
          ? "interrupted"
          : "failure"
  })

layer(PgCluster.layer({ replicas: 1, settings: { max_connections: 100 } }), {
  excludeTestServices: true,
  timeout: "2 minutes"
})("fixes", (it) => {
  // Side by side, because most of their time is waiting.
  describe.concurrent("on ours and on the original", () => {
    const fix = <A>(
      name: string,
      wrong: string,
      options: Drivers.Options,
      body: Body<A>,
      expected: { readonly ours: NoInfer<A>; readonly original: NoInfer<A> }
    ) => {
      it.effect(name, () =>
        Effect.map(onOurs(options, body), (outcome) => assert.deepStrictEqual<unknown>(outcome, expected.ours))
      )
      it.effect(`(the original: ${wrong})`, () =>
        Effect.map(onOriginal(options, body), (outcome) => assert.deepStrictEqual<unknown>(outcome, expected.original))
      )
    }

    fix(
      "transactions: waiting for a connection can be interrupted",
      "a timeout of 200 ms lasts until a connection is free",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const holder = yield* Scope.make()
          yield* Scope.extend(sql.reserve, holder)
          const fiber = yield* Effect.fork(timed(Effect.timeoutOption(sql.withTransaction(sleep(0)), "200 millis")))
          yield* Effect.forkScoped(Effect.delay(Scope.close(holder, Exit.void), "1 second"))
          const [elapsed] = yield* Fiber.join(fiber)
          yield* Scope.close(holder, Exit.void)
          return elapsed < 800 ? "at once" : "when a connection was free"
        }),
      { ours: "at once", original: "when a connection was free" }
    )

    // Through a proxy that swallows the BEGIN, and then cuts the connection.
    const lostBegin = (on: typeof onOurs<any>) =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const proxy = yield* FaultProxy.make({ target: primary })
        const url = Redacted.make(Redacted.value(primary.url).replace(`:${primary.port}/`, `:${proxy.port}/`))
        return yield* on({ url, maxConnections: 1 }, (_, patience) =>
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* sql`select 1`
            yield* proxy.blackhole({ new: false })
            const waiting = yield* Effect.forkDaemon(sql.withTransaction(sql`select 1`))
            // Nobody can see that BEGIN has gone into the hole; without this it could find a connection that is closed.
            yield* Effect.sleep("50 millis")
            yield* proxy.cut
            const failed = yield* after(patience, Fiber.await(waiting))
            yield* proxy.heal
            yield* sql`select 1`
            yield* proxy.blackhole({ new: false })
            const left = yield* after(patience, Effect.timeoutOption(sql.withTransaction(sql`select 1`), "200 millis"))
            yield* proxy.cut
            return [failed === "not done" ? failed : verdict(failed), left === "not done" ? left : "interrupted"]
          })
        )
      }).pipe(Effect.scoped)

    it.effect("transactions: BEGIN can be interrupted; one that is lost is sent again, on another connection", () =>
      Effect.map(lostBegin(onOurs), (outcome) => assert.deepStrictEqual(outcome, ["success", "interrupted"]))
    )

    it.effect("(the original: a hanging BEGIN holds its caller; one that fails is a defect)", () =>
      Effect.map(lostBegin(onOriginal), (outcome) => assert.deepStrictEqual(outcome, ["defect", "not done"]))
    )

    fix(
      "transactions: a COMMIT that the server refuses is a typed failure with its code",
      "it is a defect",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const parent = yield* table("id int primary key")
          const child = yield* table(`id int references ${parent} (id) deferrable initially deferred`)
          const exit = yield* Effect.exit(sql.withTransaction(sql`insert into ${sql(child)} (id) values (${1})`))
          const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
          return [verdict(exit), codeOf(error), (yield* idsOf(child)).length]
        }),
      { ours: ["failure", "23503", 0], original: ["defect", undefined, 0] }
    )

    fix(
      "transactions: a serialization failure at COMMIT can be caught, and the transaction run again",
      "it is a defect, which no retry sees",
      { maxConnections: 2 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          let runs = 0
          const [read, written, committed] = [
            yield* Effect.makeLatch(),
            yield* Effect.makeLatch(),
            yield* Effect.makeLatch()
          ]
          const serializable = <A, E, R>(body: Effect.Effect<A, E, R>) =>
            sql.withTransaction(
              Effect.suspend(() => {
                runs++
                return Effect.zipRight(sql.unsafe("set transaction isolation level serializable"), body)
              })
            )
          const insert = (id: number) => sql`insert into ${sql(t)} (id) values (${id})`
          // Write skew: each has read, before the other has written. The second to commit is refused, at its COMMIT.
          const first = serializable(
            idsOf(t).pipe(Effect.zipRight(read.await), Effect.zipRight(insert(1)), Effect.zipRight(written.await))
          )
          const second = serializable(
            idsOf(t).pipe(
              Effect.zipRight(read.open),
              Effect.zipRight(insert(2)),
              Effect.zipRight(written.open),
              Effect.zipRight(committed.await)
            )
          )
          const exits = yield* Effect.all(
            [Effect.ensuring(first, committed.open), second].map((transaction) =>
              Effect.exit(Effect.retry(transaction, { times: 3, while: (error) => codeOf(error) === "40001" }))
            ),
            { concurrency: 2 }
          )
          return [exits.map(verdict), runs, yield* idsOf(t)]
        }),
      { ours: [["success", "success"], 3, [1, 2]], original: [["success", "defect"], 2, [1]] }
    )

    fix(
      "transactions: a ROLLBACK that fails does not replace the failure of the body",
      "only a defect is left",
      { maxConnections: 1 },
      (name) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const { primary } = yield* PgCluster.PgCluster
          const exit = yield* Effect.exit(
            sql.withTransaction(
              sql`select 1`.pipe(
                Effect.zipRight(primary.terminateBackends({ applicationName: name })),
                Effect.zipRight(Effect.fail("the body's"))
              )
            )
          )
          return Exit.isFailure(exit) && Cause.isDie(exit.cause)
            ? "defect"
            : Option.getOrUndefined(Cause.failureOption((exit as Exit.Failure<never, unknown>).cause))
        }),
      { ours: "the body's", original: "defect" }
    )

    fix(
      "transactions: a COMMIT that the server answers with ROLLBACK is a failure",
      "success is reported and nothing was written",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const exit = yield* Effect.exit(
            sql.withTransaction(
              Effect.gen(function* () {
                yield* sql`insert into ${sql(t)} (id) values (${1})`
                yield* Effect.ignore(sql`insert into ${sql(t)} (id) values (${1})`)
              })
            )
          )
          const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
          return [verdict(exit), SqlReason.of(error)._tag, (yield* idsOf(t)).length]
        }),
      { ours: ["failure", "TransactionAborted", 0], original: ["success", "Unclassified", 0] }
    )

    fix(
      "transactions: nested siblings that run at once are undone and kept each alone",
      "their savepoints have one name, and the failing one takes the others with it",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const insert = (id: number) => sql`insert into ${sql(t)} (id) values (${id})`
          yield* sql.withTransaction(
            Effect.forEach(
              [1, 2, 3],
              (id) =>
                Effect.ignore(
                  sql.withTransaction(Effect.zipRight(insert(id), id === 2 ? Effect.fail("no") : Effect.void))
                ),
              { concurrency: "unbounded" }
            )
          )
          return yield* idsOf(t)
        }),
      { ours: [1, 3], original: [] }
    )

    fix(
      "transactions: a statement of another client inside runs on that client's own database",
      "it runs on the connection of the transaction",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const { primary } = yield* PgCluster.PgCluster
          const isOurs = Option.isSome(yield* Effect.serviceOption(Sql.Sql))
          const other = yield* (isOurs ? ours : original).make({
            url: Redacted.make(Redacted.value(primary.url).replace(/sluice$/, "postgres"))
          })
          const rows = yield* sql.withTransaction(other<{ d: string }>`select current_database() as d`)
          return rows[0]!.d
        }),
      { ours: "postgres", original: "sluice" }
    )

    const interruptedWaiter =
      (waits: "reserve" | "stream"): Body<string> =>
      (_, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const holder = yield* Scope.make()
          yield* Scope.extend(sql.reserve, holder)
          const fiber = yield* Effect.fork(
            waits === "reserve" ? Effect.scoped(sql.reserve) : Stream.runDrain(sql`select 1`.stream)
          )
          // It waits from the first time that it is suspended.
          yield* Effect.repeatN(Effect.yieldNow(), 10)
          yield* Fiber.interrupt(fiber)
          yield* Scope.close(holder, Exit.void)
          return (yield* after(patience, sql`select 1`)) === "not done" ? "starves" : "is served"
        })

    for (const waits of ["reserve", "stream"] as const) {
      fix(
        `P1: a fiber interrupted while its ${waits} waits for a connection loses none; the next caller is served`,
        "the connection is lost and the next caller starves",
        { maxConnections: 1 },
        interruptedWaiter(waits),
        { ours: "is served", original: "starves" }
      )
    }

    fix(
      "P2: with every connection in use, an interrupted statement ends at once, on the server too",
      "the cancel waits for a connection of the pool, the caller with it, and the statement goes on",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.forkDaemon(sleep(20))
          yield* running(name, "pg_sleep")
          const interrupt = yield* after(patience, Fiber.interrupt(fiber))
          const ended = yield* after(
            patience,
            eventually(
              "the statement has ended",
              Effect.map(active(name, "pg_sleep"), (n) => n === 0)
            )
          )
          return [interrupt === "not done" ? interrupt : "done", ended === "not done" ? "goes on" : "has ended"]
        }),
      { ours: ["done", "has ended"], original: ["not done", "goes on"] }
    )

    fix(
      "P3: a cancel never hits the statement of another fiber",
      "a cancel that waited for a connection hits whoever runs on the old one by then (57014)",
      { maxConnections: 2 },
      (name) =>
        Effect.gen(function* () {
          const interrupted = yield* Effect.forkDaemon(sleep(0.6))
          const other = yield* Effect.forkDaemon(sleep(1))
          yield* eventually(
            "both run",
            Effect.map(active(name, "pg_sleep"), (n) => n === 2)
          )
          // Waits for a connection, and gets the one of the interrupted statement.
          const innocent = yield* Effect.forkDaemon(sleep(1.5))
          yield* Effect.repeatN(Effect.yieldNow(), 10)
          yield* Effect.forkDaemon(Fiber.interrupt(interrupted))
          yield* Fiber.await(other)
          const exit = yield* Fiber.await(innocent)
          return Exit.isSuccess(exit) ? "untouched" : codeOf(Option.getOrUndefined(Cause.failureOption(exit.cause)))
        }),
      { ours: "untouched", original: "57014" }
    )

    fix(
      "P4: inside of a transaction, with every connection in use, a statement can be interrupted at once",
      "it cannot",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const fiber = yield* Effect.forkDaemon(sql.withTransaction(sleep(20)))
          yield* running(name, "pg_sleep")
          return (yield* after(patience, Fiber.interrupt(fiber))) === "not done" ? "not done" : "done"
        }),
      { ours: "done", original: "not done" }
    )

    // A door that leads to another server each time.
    const turningDoor = Effect.gen(function* () {
      const { primary, replicas } = yield* PgCluster.PgCluster
      const nodes = [primary, replicas[0]!]
      const sockets = new Set<Net.Socket>()
      let turn = 0
      const server = yield* Effect.acquireRelease(
        Effect.async<Net.Server>((resume) => {
          const server = Net.createServer((client) => {
            const node = nodes[turn++ % 2]!
            const upstream = Net.connect(node.port, node.host)
            for (const socket of [client, upstream]) sockets.add(socket.on("error", () => {}))
            client.on("close", () => upstream.destroy())
            client.pipe(upstream).pipe(client)
          }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) =>
          Effect.sync(() => {
            for (const socket of sockets) socket.destroy()
            server.close()
          })
      )
      const { port } = server.address() as Net.AddressInfo
      return Redacted.make(Redacted.value(primary.url).replace(`:${primary.port}/`, `:${port}/`))
    })

    const cancelledBehindTheDoor = (on: typeof onOurs<any>) =>
      Effect.gen(function* () {
        const url = yield* turningDoor
        return yield* on({ url, maxConnections: 2, minConnections: 0 }, (name, patience) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.forkDaemon(sleep(20))
            yield* running(name, "pg_sleep")
            yield* Effect.forkDaemon(Fiber.interrupt(fiber))
            const ended = yield* after(
              patience,
              eventually(
                "the statement has ended",
                Effect.map(active(name, "pg_sleep"), (n) => n === 0)
              )
            )
            return ended === "not done" ? "goes on" : "has ended"
          })
        )
      }).pipe(Effect.scoped)

    it.effect("P5: behind one address with several servers, a statement is cancelled where it runs", () =>
      Effect.map(cancelledBehindTheDoor(onOurs), (outcome) => assert.strictEqual(outcome, "has ended"))
    )

    it.effect("(the original: the cancel goes to another server, where the process id means another session)", () =>
      Effect.map(cancelledBehindTheDoor(onOriginal), (outcome) => assert.strictEqual(outcome, "goes on"))
    )

    fix(
      "P6: interrupting a stream does not wait for the server",
      "it waits until the server has answered",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const fiber = yield* Effect.forkDaemon(Stream.runDrain(sql`select pg_sleep(20)`.stream))
          yield* running(name, "pg_sleep")
          return (yield* after(patience, Fiber.interrupt(fiber))) === "not done" ? "not done" : "done"
        }),
      { ours: "done", original: "not done" }
    )

    fix(
      "P7: a stream whose session is ended on the server fails",
      "its fiber hangs, and cannot be interrupted",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const { primary } = yield* PgCluster.PgCluster
          const fiber = yield* Effect.forkDaemon(
            Effect.exit(Stream.runDrain(sql`select pg_sleep(i * 20) from generate_series(0, 3) as i`.stream))
          )
          yield* running(name, "pg_sleep")
          yield* primary.terminateBackends({ applicationName: name })
          const exit = yield* after(patience, Fiber.join(fiber))
          return exit === "not done" ? exit : verdict(exit)
        }),
      { ours: "failure", original: "not done" }
    )

    const listenTo = (channel: string) =>
      Effect.gen(function* () {
        const client = yield* PgClient.PgClient
        const arrived = yield* Queue.unbounded<string>()
        const ready = unique("ready")
        let isReady = false
        const fiber = yield* client.listen(channel).pipe(
          Stream.runForEach((payload) => {
            if (payload.startsWith("ready")) {
              isReady ||= payload === ready
              return Effect.void
            }
            return Queue.offer(arrived, payload)
          }),
          Effect.forkDaemon
        )
        yield* eventually(
          "it is listened to",
          Effect.zipRight(
            client`select pg_notify(${channel}, ${ready})`,
            Effect.sync(() => isReady)
          )
        )
        return { arrived, fiber, stop: Fiber.interrupt(fiber) }
      })

    const send = (channel: string, payload: string) =>
      Effect.flatMap(PgClient.PgClient, (sql) => Effect.asVoid(sql`select pg_notify(${channel}, ${payload})`))

    const listeners = Effect.flatMap(PgCluster.PgCluster, ({ primary }) =>
      Effect.map(primary.activity, (all) => all.filter((one) => /^\s*listen/i.test(one.query)))
    )

    const killListener = (name: string) =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const [listener] = (yield* listeners).filter((one) => one.applicationName === name)
        yield* primary.query("select pg_terminate_backend($1)", [listener!.pid])
        yield* eventually(
          "that session is gone",
          Effect.map(primary.activity, (all) => all.every((one) => one.pid !== listener!.pid))
        )
      })

    fix(
      "P9: a listener whose session is ended on the server notices: it fails, typed, or goes on hearing",
      "it hears nothing any more, and says nothing",
      {},
      (name, patience) =>
        Effect.gen(function* () {
          const channel = unique("c")
          const { arrived, fiber, stop } = yield* listenTo(channel)
          yield* killListener(name)
          const heard = Effect.repeat(send(channel, "again"), {
            until: () => Effect.map(Queue.size(arrived), (n) => n > 0)
          })
          const exit = yield* after(
            patience,
            Effect.raceFirst(Effect.asVoid(Effect.exit(Fiber.join(fiber))), Effect.asVoid(heard))
          )
          yield* Effect.forkDaemon(stop)
          return exit === "not done" ? "deaf" : "notices"
        }),
      { ours: "notices", original: "deaf" }
    )

    it.effect(
      "P9: a listener whose session is ended subscribes again by itself, and hears what is sent after that",
      () =>
        onOurs({}, (name) =>
          Effect.gen(function* () {
            const channel = unique("c")
            const { arrived, stop } = yield* listenTo(channel)
            yield* killListener(name)
            yield* eventually(
              "it hears again",
              Effect.zipRight(
                send(channel, "again"),
                Effect.map(Queue.size(arrived), (n) => n > 0)
              )
            )
            yield* stop
          })
        )
    )

    it.effect("listeners count: the sessions of a client that listens are never more than maxConnections", () =>
      onOurs({ maxConnections: 3 }, (name) =>
        Effect.gen(function* () {
          const { stop } = yield* listenTo(unique("c"))
          const sleeping = yield* Effect.fork(
            Effect.forEach(Array.from({ length: 6 }), () => sleep(0.2), { concurrency: "unbounded", discard: true })
          )
          yield* running(name, "pg_sleep")
          const most = yield* Effect.iterate(
            { most: 0, done: false },
            {
              while: ({ done }) => !done,
              body: ({ most }) =>
                Effect.map(
                  Effect.zip(Drivers.servers.postgresql.sessions(name), sleeping.status),
                  ([sessions, status]) => ({ most: Math.max(most, sessions), done: status._tag === "Done" })
                )
            }
          )
          yield* stop
          assert.isAtMost(most.most, 3)
        })
      )
    )

    fix(
      "P10: a listener that ends takes nothing from the others of its channel",
      "its UNLISTEN ends them all",
      {},
      (_, patience) =>
        Effect.gen(function* () {
          const channel = unique("c")
          const one = yield* listenTo(channel)
          const two = yield* listenTo(channel)
          yield* one.stop
          yield* send(channel, "news")
          const heard = yield* after(patience, Queue.take(two.arrived))
          yield* two.stop
          return heard
        }),
      { ours: "news", original: "not done" }
    )

    fix(
      "P11: a notification without a payload is an empty text",
      "it is dropped",
      {},
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const channel = unique("c")
          const { arrived, stop } = yield* listenTo(channel)
          yield* sql.unsafe(`notify ${channel}`)
          yield* send(channel, "next")
          const first = yield* Queue.take(arrived)
          yield* stop
          return first
        }),
      { ours: "", original: "next" }
    )

    it.effect("P11: what is sent in the moment that LISTEN is answered is not lost", () =>
      onOurs({}, () =>
        Effect.gen(function* () {
          const client = yield* PgClient.PgClient
          // Sent without a pause, by another session: whatever comes after the first that is heard must be heard.
          for (let round = 0; round < 5; round++) {
            const channel = unique("c")
            const sending = yield* Effect.fork(
              Effect.forEach(
                Array.from({ length: 200 }, (_, i) => i),
                (i) => send(channel, String(i))
              )
            )
            const heard = yield* Effect.fork(
              client.listen(channel).pipe(
                Stream.map(Number),
                Stream.takeUntil((i) => i === 199),
                Stream.runCollect
              )
            )
            yield* Fiber.join(sending)
            yield* eventually(
              "the last one is heard",
              Effect.zipRight(
                send(channel, "199"),
                Effect.map(heard.status, (status) => status._tag === "Done")
              )
            )
            const numbers = Array.from(yield* Fiber.join(heard))
            assert.deepStrictEqual(
              numbers,
              Array.from({ length: 200 - numbers[0]! }, (_, i) => numbers[0]! + i)
            )
          }
        })
      )
    )

    fix(
      "P12: notify sends",
      "it is a syntax error, always",
      {},
      () =>
        Effect.gen(function* () {
          const client = yield* PgClient.PgClient
          const channel = `Odd "channel" ${unique("c")}`
          const { arrived, stop } = yield* listenTo(channel)
          const exit = yield* Effect.exit(client.notify(channel, "it's a payload"))
          const heard = Exit.isSuccess(exit)
            ? yield* Queue.take(arrived)
            : codeOf(Option.getOrUndefined(Cause.failureOption(exit.cause)))
          yield* stop
          return heard
        }),
      { ours: "it's a payload", original: "42601" }
    )

    fix(
      "P15: waiting for a connection is bounded; who waits too long gets a typed failure",
      "it waits",
      { maxConnections: 1 },
      (_, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const outcome = yield* Effect.zipRight(
            sql.reserve,
            after(patience, Effect.exit(Sql.withAcquireTimeout("300 millis")(sql`select 1`)))
          ).pipe(Effect.scoped)
          return outcome === "not done"
            ? outcome
            : SqlReason.of(Option.getOrUndefined(Cause.failureOption((outcome as Exit.Failure<never, unknown>).cause)))
                ._tag
        }),
      { ours: "AcquireTimeout", original: "not done" }
    )

    fix(
      "P15: a statement that is used again is prepared once",
      "it is parsed and planned each time",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          for (let i = 0; i < 3; i++) yield* sql`select ${i}::int as n`
          const rows = yield* sql<{
            n: number
          }>`select count(*)::int as n from pg_prepared_statements where statement like 'select $1::int%'`
          return rows[0]!.n
        }),
      { ours: 1, original: 0 }
    )

    fix(
      "P15: what one user has changed in a session, the next does not find",
      "settings, temporary tables and open transactions stay",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const { primary } = yield* PgCluster.PgCluster
          const t = yield* table("id int primary key")
          yield* sql`set statement_timeout = 12345`
          yield* sql`create temporary table left_behind (id int)`
          yield* sql.unsafe("begin")
          yield* sql`insert into ${sql(t)} (id) values (${1})`
          const [row] = yield* sql<{ setting: string; temporary: boolean }>`
          select current_setting('statement_timeout') as setting,
            to_regclass('pg_temp.left_behind') is not null as temporary`
          const written = yield* primary.query(`select id from ${t}`)
          return { ...row!, written: written.length }
        }),
      {
        ours: { setting: "0", temporary: false, written: 1 },
        original: { setting: "12345ms", temporary: true, written: 0 }
      }
    )

    fix(
      "P17: a cancel that comes late is never an error of the next statement",
      "the next statement of the connection fails with 57014",
      { maxConnections: 2 },
      (name) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const connection = yield* sql.reserve
          const run = (seconds: number) => connection.execute(`select pg_sleep(${seconds})`, [], undefined)
          const other = yield* Effect.forkDaemon(sleep(1))
          const interrupted = yield* Effect.forkDaemon(run(0.4))
          yield* eventually(
            "both run",
            Effect.map(active(name, "pg_sleep"), (n) => n === 2)
          )
          yield* Effect.forkDaemon(Fiber.interrupt(interrupted))
          const exit = yield* Effect.exit(run(1.5))
          yield* Fiber.await(other)
          return Exit.isSuccess(exit) ? "untouched" : codeOf(Option.getOrUndefined(Cause.failureOption(exit.cause)))
        }),
      { ours: "untouched", original: "57014" }
    )

    it.effect("path is the folder of the server's Unix socket", () =>
      Effect.gen(function* () {
        // The original knows the option and does not look at it: it asks for port 5432 of this machine over TCP.
        const gone = "/nonexistent/folder"
        const failureOf = (driver: Drivers.Driver) =>
          Effect.map(Effect.flip(Effect.scoped(Layer.build(driver.layer({ path: gone, port: 6_543 })))), (error) =>
            JSON.stringify(error.cause, Object.getOwnPropertyNames(error.cause))
          )
        assert.include(yield* failureOf(ours), gone)
        assert.notInclude(yield* failureOf(original), gone)
      })
    )
  })
})
