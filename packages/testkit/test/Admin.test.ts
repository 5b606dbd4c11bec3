/** The connections of the testkit itself, to servers that fall silent. */
import * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Queue, type Scope, TestClock } from "effect"
import * as MariaDbAdmin from "../src/internal/mariaDbAdmin.js"
import * as PgAdmin from "../src/internal/pgAdmin.js"
import { closed } from "./support/sockets.js"

/** Speaks as much of the protocol as one statement needs, and calls `silent` at the message that it does not answer. */
type Speak = (socket: Net.Socket, silent: () => void) => void

const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const ready = message("Z", Buffer.from("I"))

/** Silent at the goodbye. */
const postgresql: Speak = (socket, silent) => {
  const answers: Record<string, Buffer> = {
    startup: Buffer.concat([message("R", Buffer.alloc(4)), ready]),
    Q: Buffer.concat([message("C", Buffer.from("SELECT 0\0")), ready])
  }
  let isStarted = false
  socket.on("data", (bytes) => {
    const type = isStarted ? bytes.toString("latin1", 0, 1) : "startup"
    isStarted = true
    if (type === "X") silent()
    else socket.write(answers[type]!)
  })
}

const packet = (sequence: number, body: Buffer): Buffer => {
  const head = Buffer.alloc(4)
  head.writeUIntLE(body.length, 0, 3)
  head[3] = sequence
  return Buffer.concat([head, body])
}

const GOODBYE = 1
const STATEMENT = 3

const mariadb =
  (last: number): Speak =>
  (socket, silent) => {
    const secret = "x".repeat(8)
    // PROTOCOL_41, SECURE_CONNECTION and PLUGIN_AUTH, in two parts; utf8; autocommit.
    const flags = [0x00, 0x82, 33, 2, 0, 0x08, 0x00, 21]
    const hello = [10, ..."10.11.0-MariaDB\0", 1, 0, 0, 0, ...secret, 0, ...flags, ..."\0".repeat(10), ...secret]
    const rest = [..."xxxx\0", ..."mysql_native_password\0"]
    const bytes = [...hello, ...rest].map((one) => (typeof one === "string" ? one.charCodeAt(0) : one))
    socket.write(packet(0, Buffer.from(bytes)))
    socket.on("data", (received) => {
      const [, , , sequence = 0, command] = received
      if (sequence === 0 && command === last) silent()
      else socket.write(packet(sequence + 1, Buffer.from([0, 0, 0, 2, 0, 0, 0])))
    })
  }

/** A server that never closes its side of a connection. */
const server = (speak: Speak) =>
  Effect.gen(function* () {
    const silent = yield* Queue.unbounded<Net.Socket>()
    const sockets: Array<Net.Socket> = []
    const listener = Net.createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket)
      socket.on("error", () => {})
      speak(socket, () => Queue.unsafeOffer(silent, socket))
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => void listener.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
          listener.close()
        })
    )
    const { port } = listener.address() as Net.AddressInfo
    const address = { node: "primary", host: "127.0.0.1", port, user: "a", password: "b", database: "c" }
    return { address, silent: Queue.take(silent) }
  })

interface Case {
  readonly query: Effect.Effect<ReadonlyArray<object>, unknown>
  /** The next connection on which the server has fallen silent. */
  readonly silent: Effect.Effect<Net.Socket>
}

const postgresqlCase: Effect.Effect<Case, never, Scope.Scope> = Effect.map(
  server(postgresql),
  ({ address, silent }) => ({
    query: PgAdmin.query(address, "x"),
    silent
  })
)

const mariadbCase = (last: number): Effect.Effect<Case, never, Scope.Scope> =>
  Effect.map(server(mariadb(last)), ({ address, silent }) => ({ query: MariaDbAdmin.query(address, "x"), silent }))

for (const [name, make] of [
  ["PostgreSQL", postgresqlCase],
  ["MariaDB", mariadbCase(GOODBYE)]
] as const) {
  describe(`a server of ${name} that does not close its side`, () => {
    it.scoped("keeps a statement that it has answered for 2 seconds, and then the socket is closed", () =>
      Effect.gen(function* () {
        const { query, silent } = yield* make
        const fiber = yield* Effect.fork(query)
        const socket = yield* silent
        yield* TestClock.adjust("1999 millis")
        assert.isNull(fiber.unsafePoll())
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* Fiber.join(fiber), [])
        yield* closed(socket)
      })
    )

    it.scoped("does not keep a statement that is interrupted meanwhile, and the socket is closed at once", () =>
      Effect.gen(function* () {
        const { query, silent } = yield* make
        const fiber = yield* Effect.fork(query)
        const socket = yield* silent
        yield* Fiber.interrupt(fiber)
        yield* closed(socket)
      })
    )
  })
}

describe("a server of MariaDB that answers no statement", () => {
  it.scoped("is told for 2 seconds to end the statement that was interrupted, and then the socket is closed", () =>
    Effect.gen(function* () {
      const { query, silent } = yield* mariadbCase(STATEMENT)
      const fiber = yield* Effect.fork(query)
      const socket = yield* silent
      yield* Fiber.interrupt(fiber)
      yield* closed(socket)
      yield* closed(yield* silent)
    })
  )
})
