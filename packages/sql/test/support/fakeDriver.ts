import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import type { ConnectionState, Driver, Mode, Signals } from "@sluice/sql/driver/Driver"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect } from "effect"

/** A database in memory, of no particular kind: it knows what a transaction is, and remembers what it was told. */
export interface FakeConnection {
  readonly id: number
  readonly host: string
  readonly timers: Deadline.Timers["Type"]
  readonly signals: Signals
  readonly log: Array<string>
  hasBaseline: boolean
  state: ConnectionState
  /** When the last statement has ended. */
  usedAt: number
  /** What everything fails with from now on. */
  endedBy: SqlError | undefined
  /** Ends the statement that runs, as cancelled. */
  running: (() => void) | undefined
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
  /** Hosts whose connects never end. */
  readonly silent: Set<string>
  /** Hosts that take no writes. */
  readonly standbys: Set<string>
  /** How far each host is. */
  readonly positions: Map<string, number>
  /** Milliseconds that hosts say that they are behind; `undefined`: such a host tells nothing. Default 0. */
  readonly lags: Map<string, number | undefined>
  /** How many connections each host has, and may have. A host that is not in it does not tell. */
  readonly counts: Map<string, readonly [number, number]>
  /** Hosts that let nobody ask for their state. */
  readonly closed: Set<string>
  aborts: number
}

export const failure = (message: string): SqlError =>
  SqlReason.toError(SqlReason.make("Unclassified", { outcome: "rolledBack", cause: new Error(message) }), message)

/** As the seam demands: the statement goes on, and nobody awaits it. */
const late = (sql: string): SqlError =>
  sql === "COMMIT"
    ? SqlReason.toError(
        SqlReason.make("CommitUnknown", { connection: "destroy", outcome: "unknown", retry: "idempotent" }),
        "no answer to COMMIT by the deadline"
      )
    : SqlReason.toError(
        SqlReason.make("StatementTimeout", { connection: "keep", outcome: "unknown" }),
        `no answer to ${sql} by the deadline`
      )

export const make = (): Fake => {
  const fake: Fake = {
    connections: [],
    log: [],
    answers: new Map(),
    failures: new Map(),
    down: new Set(),
    silent: new Set(),
    standbys: new Set(),
    positions: new Map(),
    lags: new Map(),
    counts: new Map(),
    closed: new Set(),
    aborts: 0,
    driver: {
      name: "Fake",
      endpoint: (host) => ({ key: `fake-${host}-${process.pid}`, label: host }),
      connect: (host, signals) =>
        Effect.flatMap(Deadline.ofContext, (timers) =>
          fake.silent.has(host)
            ? Effect.never
            : Effect.acquireRelease(
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
                    timers,
                    signals,
                    log: [],
                    hasBaseline: false,
                    state: "idle",
                    usedAt: 0,
                    endedBy: undefined,
                    running: undefined
                  }
                  fake.connections.push(connection)
                  return Effect.succeed(connection)
                }),
                (connection) =>
                  Effect.sync(() => {
                    connection.state = "dead"
                  })
              )
        ),
      ping: () => Effect.void,
      takesWrites: ({ host }) => Effect.sync(() => !fake.standbys.has(host)),
      probe: ({ host }) =>
        Effect.suspend(() =>
          fake.down.has(host)
            ? Effect.fail(
                SqlReason.toError(
                  SqlReason.make("ConnectionLost", { connection: "destroy", retry: "always" }),
                  `${host} is down`
                )
              )
            : fake.silent.has(host)
              ? Effect.never
              : fake.closed.has(host)
                ? Effect.fail(SqlReason.toError(SqlReason.make("PermissionDenied"), "no"))
                : Effect.succeed({
                    isWritable: !fake.standbys.has(host),
                    isReplica: false,
                    generation: undefined,
                    history: undefined,
                    instance: undefined,
                    sharesWrites: false,
                    position: fake.positions.get(host)?.toString(),
                    lag: fake.lags.has(host) ? fake.lags.get(host) : 0
                  })
        ),
      load: ({ host }) => {
        const [connections, maxConnections] = fake.counts.get(host) ?? []
        return connections === undefined || maxConnections === undefined
          ? Effect.fail(failure("it does not tell"))
          : Effect.succeed({ connections, maxConnections, active: 0, idleInTransaction: undefined })
      },
      reset: (connection) =>
        Effect.sync(() => {
          connection.log.push("(reset)")
          connection.state = "idle"
          connection.hasBaseline = false
        }),
      baseline: {
        isMissing: (connection) => !connection.hasBaseline,
        set: (connection) => {
          connection.hasBaseline = true
          return undefined
        }
      },
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
      inspect: ({ running, state, usedAt }) => ({
        kind: running !== undefined ? "busy" : state === "transaction" ? "idleInTransaction" : "forgotten",
        since: usedAt
      }),
      takeAway: (connection, error) => {
        connection.state = "dead"
        connection.endedBy = error
      },
      askPosition: ({ host }) => Effect.sync(() => fake.positions.get(host)?.toString()),
      reached: (position, wanted) =>
        Number.isInteger(Number(position)) && Number.isInteger(Number(wanted))
          ? Number(position) >= Number(wanted)
          : undefined,
      execute: (connection, sql, _params, mode, before = [], until = Deadline.never) =>
        Effect.zipRight(
          Effect.forEach(before, (sql) => execute(fake, connection, sql, "command", until), { discard: true }),
          execute(fake, connection, sql, mode, until)
        ),
      stream: (connection, sql) => {
        let pieces = 3
        return Effect.succeed({
          next: (until) =>
            Effect.suspend(() =>
              pieces-- > 0
                ? Effect.as(execute(fake, connection, sql, "rows", until), [{ piece: pieces }])
                : Effect.succeed([])
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

const execute = (
  fake: Fake,
  connection: FakeConnection,
  sql: string,
  mode: Mode,
  until: Deadline.Instant
): Effect.Effect<any, SqlError> =>
  Effect.async((resume) => {
    if (connection.running !== undefined) {
      return resume(Effect.die(new Error(`"${sql}" was sent while another statement runs`)))
    }
    if (connection.state === "dead") return resume(Effect.fail(connection.endedBy ?? failure("dead")))
    connection.log.push(sql)
    fake.log.push(`${connection.id}: ${sql}`)
    const timer = connection.timers.set(until, () => resume(Effect.fail(late(sql))))
    const end = (result: Effect.Effect<any, SqlError>) => {
      connection.running = undefined
      connection.usedAt = connection.timers.now()
      timer.cancel()
      resume(result)
    }
    const fail = (message: string) => {
      if (connection.state === "transaction") connection.state = "failed"
      end(Effect.fail(failure(message)))
    }
    const cancel = () => fail(`${sql} was cancelled`)
    connection.running = cancel
    const answer = fake.answers.get(sql)
    if (answer === "hang") return
    setImmediate(() => {
      if (connection.running !== cancel) return
      const failed = fake.failures.get(sql)?.shift()
      if (failed !== undefined) {
        if (SqlReason.of(failed).connection === "destroy") connection.state = "dead"
        else if (connection.state === "transaction") connection.state = "failed"
        return end(Effect.fail(failed))
      }
      if (answer === "fail") return fail(`${sql} failed`)
      if (sql === "BEGIN") connection.state = "transaction"
      if (sql === "COMMIT" || sql === "ROLLBACK") connection.state = "idle"
      if (sql.startsWith("ROLLBACK TO") && connection.state === "failed") connection.state = "transaction"
      end(Effect.succeed(mode === "command" ? (answer ?? sql) : [{ connection: connection.id, host: connection.host }]))
    })
  })
