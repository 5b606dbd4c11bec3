import { isIP } from "node:net"
import * as Cancel from "@sluice/sql/driver/Cancel"
import { Effect } from "effect"
import type { PgConnection } from "./session/connection.js"
import { execute } from "./session/execute.js"
import * as Pg from "./wire/pg.js"

/**
 * Asks the server, over a socket of its own, to stop what a session does. The server closes that socket after it has
 * signalled the session: from then on the cancel is under way or already over, and cannot come later.
 *
 * The address is the one that the session is connected to. A name may stand for several servers, and another server does not
 * know the session.
 */
const request = (connection: PgConnection): Effect.Effect<void, unknown> =>
  Effect.async((resume) => {
    const { client, endpoint, wire } = connection
    const { processID, secretKey } = client
    if (processID === null || secretKey === null) return resume(Effect.fail(new Error("the server gave no cancel key")))
    const { sslNegotiation } = client
    const ssl = tlsOf(client.ssl, endpoint.host)
    const cancelling = new Pg.Connection({ ssl, sslNegotiation, stream: endpoint.stream })
    const send = () => cancelling.cancel(processID, secretKey)
    let failure: unknown
    cancelling.on("error", (error: unknown) => {
      failure ??= error
    })
    cancelling.on("end", () => resume(failure === undefined ? Effect.void : Effect.fail(failure)))
    if (ssl) {
      if (sslNegotiation !== "direct") cancelling.on("connect", () => cancelling.requestSsl())
      cancelling.on("sslconnect", send)
    } else cancelling.on("connect", send)
    if (endpoint.host.startsWith("/")) cancelling.connect(`${endpoint.host}/.s.PGSQL.${endpoint.port}` as never)
    else cancelling.connect(endpoint.port, wire.stream.remoteAddress ?? endpoint.host)
    return Effect.sync(() => cancelling.stream.destroy())
  })

/**
 * A cancel is encrypted if its connection is. The socket connects to the address, and the certificate of the server is for the
 * name. `pg` hides the key of a client's certificate, so that a copy of the options would lose it.
 */
const tlsOf = (ssl: false | { readonly key?: unknown }, host: string): false | object =>
  ssl && {
    ...ssl,
    ...(ssl.key === undefined ? {} : { key: ssl.key }),
    host,
    ...(isIP(host) === 0 ? { servername: host } : {})
  }

export const { abort, relieve } = Cancel.make<PgConnection>({
  request: (connection) => {
    connection.pipeline.current?.abandon(connection.wire)
    return request(connection)
  },
  sentinel: (connection) =>
    Effect.catchIf(
      Effect.asVoid(execute(connection, "", [], "command")),
      () => !connection.isDead,
      () => Effect.void
    ),
  unheard: () => Effect.void
})

/** Milliseconds for the cancel of a connection that is closed: its place in the pool waits for it. */
const LAST_CANCEL = 500

/** For a connection that is closed while busy. Without a cancel the server would go on with a statement that nobody awaits. */
export const fireAndForget = (connection: PgConnection): Effect.Effect<void> =>
  Effect.ignore(Cancel.atMost(connection.pipeline.timers, LAST_CANCEL, request(connection)))
