import type { SqlError } from "@effect/sql/SqlError"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect, Stream } from "effect"
import { connect, driver } from "./driver.js"
import type { Endpoint } from "./endpoint.js"

/** How often a silent listener is asked whether it still works: a path that died in the middle says nothing by itself. */
const HEARTBEAT = "30 seconds"

const BOUND = "5 seconds"

/**
 * The notifications of one channel, on a connection of their own. When that connection is lost the stream fails, because
 * notifications were lost with it; `Stream.retry` listens again.
 */
export const listen = (endpoint: Endpoint, channel: string): Stream.Stream<string, SqlError> =>
  Stream.asyncPush<string, SqlError>(
    (emit) =>
      Effect.gen(function* () {
        const broken = (cause: unknown) => {
          emit.fail(connection.error(cause, "statement"))
        }
        const connection = yield* connect(endpoint, { broken, fatal: broken }).pipe(
          Effect.timeoutFail({ duration: BOUND, onTimeout: () => late(endpoint) })
        )
        // Attached first: a notification may come together with the answer of LISTEN.
        connection.client.on("notification", (message: { channel: string; payload?: string }) => {
          if (message.channel === channel) emit.single(message.payload ?? "")
        })
        yield* connection.execute(`LISTEN "${channel.replaceAll('"', '""')}"`, [], "command")
        yield* driver.ping(connection).pipe(
          Effect.timeoutFail({ duration: BOUND, onTimeout: () => late(endpoint) }),
          Effect.delay(HEARTBEAT),
          Effect.forever,
          Effect.catchAll((error) => Effect.sync(() => emit.fail(error))),
          Effect.forkScoped
        )
      }),
    { bufferSize: "unbounded" }
  )

const late = (endpoint: Endpoint): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectionLost", { connection: "destroy", retry: "A" }),
    `PostgreSQL at ${endpoint.label}: no answer on the connection that listens within ${BOUND}; notifications may have been lost`
  )
