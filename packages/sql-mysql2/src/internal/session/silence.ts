import * as Awaiting from "@sluice/sql/driver/Awaiting"
import type { SessionState, Silence } from "@sluice/sql/driver/Driver"
import { Effect } from "effect"
import type { MysqlConnection } from "./connection.js"
import { execute } from "./execute.js"
import { isMariaDb } from "./session.js"

interface Row {
  readonly id: number | string
  readonly command: string
  readonly state: string | null
  readonly mark: number | string
}

/** A user sees its own sessions without any privilege. MariaDB numbers the statements; MySQL says nothing like it. */
const textOf = (control: MysqlConnection, threads: ReadonlyArray<number | string>): string =>
  `SELECT ID AS id, COMMAND AS command, STATE AS state, ${isMariaDb(control) ? "QUERY_ID" : "0"} AS mark
  FROM information_schema.PROCESSLIST WHERE ID IN (${threads.join(", ")})`

/** A session that executes a statement waits for the client as well: until it has read what was sent. */
const isWaiting = ({ command, state }: Row): boolean =>
  command === "Sleep" ||
  /^(?:writing to net|sending to client|reading from net|receiving from client)$/i.test(state ?? "")

const gone: SessionState = { state: "gone", mark: "" }

export const silence: Silence<MysqlConnection> = {
  awaiting: (connection) => Awaiting.of(connection),
  server: ({ server }) => (server.thread === undefined ? undefined : server.identity),
  ask: (control, suspects) => {
    const threads = suspects.map(({ server }) => server.thread!)
    const text = threads.length === 0 ? "DO 0" : textOf(control, threads)
    return Effect.map(execute(control, text, [], "unprepared"), (rows: ReadonlyArray<Row>) => {
      // The program does not use this session.
      control.pipeline.renew()
      const found = new Map(rows.map((row) => [String(row.id), row]))
      return {
        server: control.server.identity,
        sessions: threads.map((thread): SessionState => {
          const row = found.get(String(thread))
          return row === undefined ? gone : { state: isWaiting(row) ? "waiting" : "working", mark: String(row.mark) }
        })
      }
    })
  }
}
