/** Start-up on servers that do not work (P13, P14, M8): what an original does is in fibers of its own, as in `pair.ts`. */
import * as Net from "node:net"
import type { SqlError } from "@effect/sql/SqlError"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Redacted, type Scope, TestClock, TestServices } from "effect"
import * as Pg from "pg"
import { describe, vi } from "vitest"
import { eventually } from "./contract.js"
import type { Database } from "./databases.js"
import * as Drivers from "./drivers.js"

interface Fake {
  readonly port: number
  readonly open: () => number
}

/** A server on whose connections `talk` says what happens. */
const fake = (talk: (socket: Net.Socket) => void): Effect.Effect<Fake, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sockets = new Set<Net.Socket>()
    const server = yield* Effect.acquireRelease(
      Effect.async<Net.Server>((resume) => {
        const server = Net.createServer((socket) => {
          sockets.add(socket)
          // Read, so that the end of the other side is seen.
          socket.on("error", () => {}).resume()
          socket.on("close", () => sockets.delete(socket))
          talk(socket)
        }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
          server.close()
        })
    )
    const { port } = server.address() as Net.AddressInfo
    return { port, open: () => sockets.size }
  })

/** What is said to a server of this database, and what it says, as far as a start needs it. */
interface Dialect<D extends Database> {
  readonly options: (port: number, connectTimeout?: number) => Drivers.Options<D>
  /** Welcomes everybody, and refuses every statement. */
  readonly refuses: (socket: Net.Socket) => void
}

const pgMessage = (tag: string, body: Buffer) => {
  const head = Buffer.alloc(5)
  head.write(tag, 0)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const mysqlPacket = (sequence: number, ...parts: ReadonlyArray<string | ReadonlyArray<number>>) => {
  const body = Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from(part))))
  const head = Buffer.alloc(4)
  head.writeUIntLE(body.length, 0, 3)
  head.writeUInt8(sequence, 3)
  return Buffer.concat([head, body])
}

const zeros = (count: number) => Array.from({ length: count }, () => 0)

const dialects: { readonly [D in Database]: Dialect<D> } = {
  postgresql: {
    options: (port, connectTimeout) => ({
      url: Redacted.make(`postgres://user:password@127.0.0.1:${port}/database`),
      connectTimeout
    }),
    refuses: (socket) => {
      const ready = pgMessage("Z", Buffer.from("I"))
      const refusal = pgMessage("E", Buffer.from("SERROR\0VERROR\0C57P04\0Mdatabase was dropped\0\0", "latin1"))
      let welcomed = false
      socket.on("data", (data) => {
        if (!welcomed) {
          welcomed = true
          socket.write(Buffer.concat([pgMessage("R", Buffer.alloc(4)), ready]))
        } else if (data[0] === "X".charCodeAt(0)) socket.end()
        else socket.write(Buffer.concat([refusal, ready]))
      })
    }
  },
  mysql: {
    options: (port, connectTimeout) => ({
      host: "127.0.0.1",
      port,
      username: "user",
      password: Redacted.make("password"),
      poolConfig: connectTimeout === undefined ? {} : { connectTimeout }
    }),
    refuses: (socket) => {
      // Protocol 4.1, password by mysql_native_password: version, session, two halves of a salt, capabilities.
      const greeting = [[10], "8.0.0\0", [1, 0, 0, 0], "12345678\0", [0xff, 0xf7, 33, 2, 0, 0xff, 0x81, 21]]
      socket.write(mysqlPacket(0, ...greeting, zeros(10), "123456789012\0", "mysql_native_password\0"))
      let welcomed = false
      socket.on("data", (data) => {
        if (!welcomed) {
          welcomed = true
          socket.write(mysqlPacket(2, [0, 0, 0, 2, 0, 0, 0]))
        } else if (data[4] === 1) socket.end()
        else socket.write(mysqlPacket(1, [0xff, 0x19, 0x04], "#42000database was dropped"))
      })
    }
  }
}

const build = <D extends Database>(driver: Drivers.Driver<D>, options: Drivers.Options<D>) =>
  Effect.scoped(Layer.build(driver.layer(options))) as Effect.Effect<unknown, SqlError>

const startup = <D extends Database>(database: D) => {
  const { options, refuses } = dialects[database]
  const { original, ours } = Drivers.pair(database)

  it.effect("a server that accepts and never answers is a typed failure within 5 seconds (the original: never)", () =>
    Effect.gen(function* () {
      const silent = yield* fake(() => {})
      const accepted = (count: number) =>
        TestServices.provideLive(
          eventually(
            `${count} are accepted`,
            Effect.sync(() => silent.open() === count)
          )
        )
      const ourStart = yield* Effect.forkDaemon(build(ours, options(silent.port)))
      yield* accepted(1)
      yield* TestClock.adjust("5 seconds")
      const error = yield* Effect.flip(Fiber.join(ourStart))
      assert.strictEqual(error._tag, "SqlError")
      yield* accepted(0)

      const start = yield* Effect.forkDaemon(build(original, options(silent.port)))
      yield* accepted(1)
      yield* TestClock.adjust("15 seconds")
      const ended = yield* TestServices.provideLive(Effect.timeoutOption(Fiber.await(start), "200 millis"))
      assert.isTrue(Option.isNone(ended))
      yield* Fiber.interruptFork(start)
    }).pipe(Effect.scoped)
  )

  it.live("a first statement that fails leaves no connection open", () =>
    Effect.gen(function* () {
      const server = yield* fake(refuses)
      const error = yield* Effect.flip(build(ours, options(server.port)))
      assert.strictEqual(error._tag, "SqlError")
      yield* eventually(
        "every connection is closed",
        Effect.sync(() => server.open() === 0)
      )
    }).pipe(Effect.scoped)
  )

  for (const driver of [original, ours]) {
    it.live(`${driver.name}: a connect timeout that is configured bounds the first connect`, () =>
      Effect.gen(function* () {
        const silent = yield* fake(() => {})
        const error = yield* Effect.flip(Effect.timeout(build(driver, options(silent.port, 200)), "30 seconds"))
        assert.strictEqual(error._tag, "SqlError")
      }).pipe(Effect.scoped)
    )
  }
}

/** Which rows of a database run: those whose drivers were selected. */
const isSelected = (database: Database) => Drivers.selected.some((driver) => driver.database === database)

for (const database of Object.keys(dialects) as Array<Database>) {
  if (isSelected(database)) describe(database, () => startup(database))
}

if (isSelected("postgresql")) {
  // Its pool drops the connection of a failed statement, so all that can be seen of it from outside is the pool itself.
  it.live("(the original on PostgreSQL: after a first statement that fails the pool is never ended)", () =>
    Effect.gen(function* () {
      const end = vi.spyOn(Pg.Pool.prototype, "end")
      yield* Effect.addFinalizer(() => Effect.sync(() => end.mockRestore()))
      const { options, refuses } = dialects.postgresql
      const server = yield* fake(refuses)
      const { original } = Drivers.pair("postgresql")
      assert.strictEqual((yield* Effect.flip(build(original, options(server.port))))._tag, "SqlError")
      assert.strictEqual(end.mock.calls.length, 0)
    }).pipe(Effect.scoped)
  )
}

if (isSelected("mysql")) {
  it.live("(the original on MySQL: after a first statement that fails its connection stays)", () =>
    Effect.gen(function* () {
      const { options, refuses } = dialects.mysql
      const server = yield* fake(refuses)
      const { original } = Drivers.pair("mysql")
      assert.strictEqual((yield* Effect.flip(build(original, options(server.port))))._tag, "SqlError")
      yield* Effect.sleep("200 millis")
      assert.strictEqual(server.open(), 1)
    }).pipe(Effect.scoped)
  )
}
