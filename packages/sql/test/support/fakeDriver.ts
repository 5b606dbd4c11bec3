import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import type { ConnectionState, Driver, Mode } from "@sluice/sql/driver/Driver"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect } from "effect"

/** A database in memory, of no particular kind: it knows what a transaction is, and remembers what it was told. */
export interface FakeConnection {
  readonly id: number
  readonly host: string
  readonly log: Array<string>
  state: ConnectionState
  /** The statement that runs. */
  running: (() => void) | undefined
  /** Ends the wait for it. */
  giveUp: ((cause: Error) => void) | undefined
}

export interface Fake {
  readonly driver: Driver<string, FakeConnection>
  readonly connections: Array<FakeConnection>
  /** Texts that were sent, with the connection they were sent on. */
  readonly log: Array<string>
  /** Answers of statements; `fail` makes a statement fail, `hang` never ends. */
  readonly answers: Map<string, "fail" | "hang" | string>
  /** What a text fails with, once for each entry, before `answers` is looked at. The connection stays as it is. */
  readonly failures: Map<string, Array<SqlError>>
  /** Hosts that refuse to connect. */
  readonly down: Set<string>
  aborts: number
}

export const failure = (message: string): SqlError =>
  SqlReason.toError(SqlReason.make("Unclassified", { outcome: "rolledBack", cause: new Error(message) }), message)

const lost = (cause: Error): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectionLost", { connection: "destroy", outcome: "unknown", retry: "idempotent", cause }),
    cause.message
  )

export const make = (): Fake => {
  const fake: Fake = {
    connections: [],
    log: [],
    answers: new Map(),
    failures: new Map(),
    down: new Set(),
    aborts: 0,
    driver: {
      name: "Fake",
      endpoint: (host) => ({ key: `fake-${host}-${process.pid}`, label: host }),
      connect: (host) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            if (fake.down.has(host)) {
              return Effect.fail(
                SqlReason.toError(
                  SqlReason.make("ConnectFailed", { connection: "none", retry: "always" }),
                  `${host} is down`
                )
              )
            }
            const connection: FakeConnection = {
              id: fake.connections.length,
              host,
              log: [],
              state: "idle",
              running: undefined,
              giveUp: undefined
            }
            fake.connections.push(connection)
            return Effect.succeed(connection)
          }),
          (connection) =>
            Effect.sync(() => {
              connection.state = "dead"
            })
        ),
      ping: () => Effect.void,
      reset: (connection) =>
        Effect.sync(() => {
          connection.log.push("(reset)")
          connection.state = "idle"
        }),
      abort: (connection) => {
        const { running } = connection
        return Effect.sync(() => {
          if (running === undefined || connection.running !== running) return
          fake.aborts++
          running()
        })
      },
      status: (connection) =>
        connection.state !== "dead" && connection.running !== undefined ? "busy" : connection.state,
      describe: () => undefined,
      execute: (connection, sql, _params, mode, before = [], until = Deadline.never) =>
        Effect.zipRight(
          Effect.forEach(before, (sql) => execute(fake, connection, sql, "command"), { discard: true }),
          Effect.clockWith((clock) => {
            if (until !== Deadline.never) {
              const late = () => connection.giveUp?.(new Error("no answer in time"))
              setTimeout(late, Math.ceil(until - Deadline.nowOf(clock)())).unref()
            }
            return execute(fake, connection, sql, mode)
          })
        ),
      stream: (connection, sql) => {
        let pieces = 3
        return Effect.succeed({
          next: () =>
            Effect.suspend(() =>
              pieces-- > 0 ? Effect.as(execute(fake, connection, sql, "rows"), [{ piece: pieces }]) : Effect.succeed([])
            ),
          close: Effect.sync(() => {
            connection.log.push("(close)")
          })
        })
      },
      // Two statements, as some databases need.
      begin: ({ isolation }) => (isolation === undefined ? ["BEGIN"] : [`SET ${isolation}`, "BEGIN"]),
      classify: (cause, phase) =>
        SqlReason.make(phase === "commit" ? "CommitUnknown" : "Unclassified", { cause, outcome: "unknown" })
    }
  }
  return fake
}

const execute = (fake: Fake, connection: FakeConnection, sql: string, mode: Mode): Effect.Effect<any, SqlError> =>
  Effect.async((resume) => {
    if (connection.running !== undefined) {
      return resume(Effect.die(new Error(`"${sql}" was sent while another statement runs`)))
    }
    if (connection.state === "dead") return resume(Effect.fail(failure("dead")))
    connection.log.push(sql)
    fake.log.push(`${connection.id}: ${sql}`)
    const fail = (message: string) => {
      connection.running = undefined
      if (connection.state === "transaction") connection.state = "failed"
      resume(Effect.fail(failure(message)))
    }
    const cancel = () => fail(`${sql} was cancelled`)
    connection.running = cancel
    connection.giveUp = (cause) => resume(Effect.fail(lost(cause)))
    const answer = fake.answers.get(sql)
    if (answer === "hang") return
    setImmediate(() => {
      if (connection.running !== cancel) return
      const failed = fake.failures.get(sql)?.shift()
      if (failed !== undefined) {
        connection.running = undefined
        if (SqlReason.of(failed).connection === "destroy") connection.state = "dead"
        else if (connection.state === "transaction") connection.state = "failed"
        return resume(Effect.fail(failed))
      }
      if (answer === "fail") return fail(`${sql} failed`)
      connection.running = undefined
      if (sql === "BEGIN") connection.state = "transaction"
      if (sql === "COMMIT" || sql === "ROLLBACK") connection.state = "idle"
      if (sql.startsWith("ROLLBACK TO") && connection.state === "failed") connection.state = "transaction"
      resume(
        Effect.succeed(mode === "command" ? (answer ?? sql) : [{ connection: connection.id, host: connection.host }])
      )
    })
  })
