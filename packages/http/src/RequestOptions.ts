/**
 * What a route says about the connection of its requests. The same options hold for every server.
 *
 * @since 0.2.0
 */
import type { Priority } from "@sluice/pool/Priority"
import type { TransactionOptions } from "@sluice/sql/SqlOptions"
import type { Duration, Redacted } from "effect"

/**
 * The options of a route, or of all routes.
 *
 * @since 0.2.0
 * @category models
 */
export interface RequestOptions {
  /**
   * What the statements do that say nothing themselves. Default: `read` for GET and HEAD, which a replica may answer, else `write`.
   * `Sql.read` and `Sql.write` inside of the handler change it.
   */
  readonly intent?: "read" | "write" | undefined
  /**
   * How long one connection is kept. Default `request`: from the first statement of the handler to the handler's end. `statement`: each
   * statement takes one for itself, and short reads share; for handlers that wait for other things between their statements.
   */
  readonly connection?: "request" | "statement" | undefined
  /** Who is served first when all connections are in use. Default: `Sql.withPriority` around it, then `normal`. */
  readonly priority?: Priority | undefined
  /**
   * The header in which a client says its priority: one of the five words. Default none: no header is read.
   *
   * - It can lower the priority of the route and not raise it: a client of a `normal` route that asks for `high` is `normal`.
   * - Another word is answered with 400.
   */
  readonly priorityHeader?: string | undefined
  /**
   * Longest time for the work of one request, from its arrival. Statements and waits end by then, and the request is answered with 504,
   * or with 503 when it got no connection.
   *
   * - Unit: duration. Default none. Range: from 1 millisecond; `Infinity` says none.
   */
  readonly deadline?: Duration.DurationInput | undefined
  /**
   * The header in which a client says how long it waits. Default none: no header is read.
   *
   * - Milliseconds from now, as a whole number (`1500`), or the moment itself (`2026-11-28T17:00:00Z`).
   * - It can shorten the `deadline` of the route and not lengthen it.
   * - A moment in the past, one more than 24 hours ahead, and anything else is answered with 400.
   */
  readonly deadlineHeader?: string | undefined
  /** Lets a client read what it has written itself, in whatever process. Default: its reads may be behind. */
  readonly consistency?: ConsistencyOptions | undefined
  /**
   * Everything the handler writes is written together: committed before a successful response is sent, and rolled back when the handler
   * fails, is aborted, or answers with a status of 400 or more. Default false.
   *
   * - BEGIN travels with the first statement, so a handler without statements takes no connection.
   */
  readonly transaction?: boolean | TransactionOptions | undefined
  /**
   * Whether a request is refused before its handler runs when it cannot get a connection in time: with 503, and `Retry-After` by the
   * queue's own estimate. Default true. False: its statements fail instead, after the handler has begun.
   */
  readonly admission?: boolean | undefined
}

/**
 * Where the consistency token of a client is kept between its requests: in a cookie, or in a header that the client sends back.
 *
 * A token that was forged, or that is older than `maxAge`, is ignored.
 *
 * @see `Sql.consistencyToken` for what the token says.
 * @since 0.2.0
 * @category models
 */
export interface ConsistencyOptions {
  /** What tokens are signed with: at least 16 characters, the same in every process. */
  readonly secret: Redacted.Redacted
  /** The name of the cookie. Default `sluice-consistency`, unless `header` is given. */
  readonly cookie?: string | undefined
  /** The name of the header of responses and requests, instead of a cookie. */
  readonly header?: string | undefined
  /** Whether browsers send the cookie over TLS alone. Default false: the token says nothing about the client. */
  readonly secure?: boolean | undefined
  /**
   * How long a token is of use: longer than replicas are behind.
   *
   * - Unit: duration. Default 1 minute. Range 1 second to 1 day.
   */
  readonly maxAge?: Duration.DurationInput | undefined
}
