import * as Awaiting from "@sluice/sql/driver/Awaiting"
import type { SessionState, Silence } from "@sluice/sql/driver/Driver"
import { Effect } from "effect"
import { asked } from "./asked.js"
import { type PgConnection, START } from "./connection.js"

interface Row {
  readonly pid: string
  readonly state: string
  readonly event: string
  readonly mark: string
  readonly start: string
}

/**
 * A role sees what its own sessions do. The session that asks is in the answer too, so that there always is a row. A server whose
 * `track_activities` is off, or that hides the session, gives no state.
 */
const textOf = (pids: ReadonlyArray<number>): string =>
  `select pid::text as pid, coalesce(state, '') as state, coalesce(wait_event, '') as event,
  concat_ws(' ', backend_start, state_change) as mark, ${START}::text as start
  from pg_stat_activity where pid in (${["pg_backend_pid()", ...pids].join(", ")})`

/**
 * A session that executes a statement waits for the client as well: until it asks for the next piece of a stream, and until it
 * has read what was sent.
 */
const isWaiting = ({ event, state }: Row): boolean =>
  state.startsWith("idle") || event === "ClientRead" || event === "ClientWrite"

const gone: SessionState = { state: "gone", mark: "" }

export const silence: Silence<PgConnection> = {
  awaiting: (connection) => Awaiting.of(connection),
  // Equal to no server while the answer is awaited.
  server: ({ client, endpoint: { server }, serverStart = "" }) =>
    client.processID === null || server.isProxied || server.hidesStart ? undefined : serverStart,
  ask: (control, suspects) => {
    const pids = suspects.map(({ client }) => client.processID!)
    return Effect.map(asked(control, textOf(pids)), (rows: ReadonlyArray<Row>) => {
      const found = new Map(rows.map((row) => [Number(row.pid), row]))
      return {
        server: rows[0]?.start,
        sessions: pids.map((pid): SessionState => {
          const row = found.get(pid)
          return row === undefined ? gone : { state: isWaiting(row) ? "waiting" : "working", mark: row.mark }
        })
      }
    })
  }
}
