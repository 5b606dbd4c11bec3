import * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, FiberId, Scope } from "effect"
import { FaultProxy } from "../src/index.js"
import { live, until } from "../src/internal/live.js"
import { closed } from "./support/sockets.js"

/** One end of a connection, and what its user sees of it. */
interface Peer {
  readonly socket: Net.Socket
  /** How the other side ended it: with a FIN or with a RST. */
  readonly ended: Effect.Effect<"fin" | "rst">
  readonly text: () => string
  readonly received: (text: string) => Effect.Effect<void>
}

const observe = (socket: Net.Socket): Peer => {
  const ended = Deferred.unsafeMake<"fin" | "rst">(FiberId.none)
  let text = ""
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1")
  })
  socket.on("end", () => Deferred.unsafeDone(ended, Effect.succeed("fin" as const)))
  socket.on("error", () => Deferred.unsafeDone(ended, Effect.succeed("rst" as const)))
  return {
    socket,
    ended: Deferred.await(ended),
    text: () => text,
    received: (expected) => until(Effect.sync(() => text === expected))
  }
}

/** A server that answers every byte with itself, unless told to be silent. */
const echoServer = (options: { readonly silent?: boolean; readonly allowHalfOpen?: boolean } = {}) =>
  Effect.gen(function* () {
    const peers: Array<Peer> = []
    const server = Net.createServer({ allowHalfOpen: options.allowHalfOpen === true }, (socket) => {
      if (options.silent) {
        socket.pause()
        peers.push({ ...observe(new Net.Socket()), socket })
        socket.on("error", () => {})
      } else {
        peers.push(observe(socket))
        socket.on("data", (bytes) => socket.write(bytes))
      }
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.sync(() => {
          for (const { socket } of peers) socket.destroy()
          server.close()
        })
    )
    const { port } = server.address() as Net.AddressInfo
    return { target: { host: "127.0.0.1", port }, peers }
  })

/** Succeeds with a connected peer, fails with the code of the operating system. */
const open = (to: { readonly host: string; readonly port: number }, allowHalfOpen = false) =>
  Effect.acquireRelease(
    Effect.async<Net.Socket, string>((resume) => {
      const socket = Net.connect({ host: to.host, port: to.port, noDelay: true, allowHalfOpen })
      socket.once("error", (error: NodeJS.ErrnoException) => resume(Effect.fail(error.code ?? "")))
      socket.once("connect", () => {
        socket.removeAllListeners("error")
        resume(Effect.succeed(socket))
      })
    }),
    (socket) => Effect.sync(() => socket.destroy())
  ).pipe(Effect.map(observe))

const echoed = (peer: Peer, text: string) =>
  Effect.suspend(() => {
    const expected = peer.text() + text
    peer.socket.write(text)
    return peer.received(expected)
  })

const counts = (proxy: FaultProxy.FaultProxy, number: number) =>
  until(Effect.map(proxy.connections, (open) => open === number))

/** Time enough for a byte to come through if nothing held it back: three round trips through a proxy of its own. */
const settle = Effect.scoped(
  Effect.gen(function* () {
    const { target } = yield* echoServer()
    const witness = yield* Effect.flatMap(FaultProxy.make({ target }), (proxy) => open(proxy))
    for (const text of ["1", "2", "3"]) yield* echoed(witness, text)
  })
)

const fixture = Effect.gen(function* () {
  const server = yield* echoServer()
  const proxy = yield* FaultProxy.make({ target: server.target })
  return { ...server, proxy }
})

describe("FaultProxy", () => {
  it.scoped("forwards bytes unchanged and in order, in both directions", () =>
    Effect.gen(function* () {
      const { proxy } = yield* fixture
      const client = yield* open(proxy)
      const text = Array.from({ length: 40_000 }, (_, index) => `${index};`).join("")
      yield* echoed(client, text)
      assert.strictEqual(client.text(), text)
    })
  )

  it.scoped("counts open and accepted connections, and forgets one when both sides have closed it", () =>
    Effect.gen(function* () {
      const { peers, proxy } = yield* fixture
      const first = yield* open(proxy)
      const second = yield* open(proxy)
      yield* echoed(first, "a")
      yield* echoed(second, "b")
      assert.strictEqual(yield* proxy.connections, 2)
      first.socket.end()
      yield* counts(proxy, 1)
      assert.strictEqual(yield* proxy.accepted, 2)
      assert.strictEqual(yield* peers[0]!.ended, "fin")
      yield* echoed(second, "c")
    })
  )

  it.scoped("passes a half-closed connection on: the answer still arrives after the client's FIN", () =>
    Effect.gen(function* () {
      const { proxy } = yield* fixture
      const client = yield* open(proxy)
      client.socket.end("last words")
      yield* client.received("last words")
      assert.strictEqual(yield* client.ended, "fin")
      yield* counts(proxy, 0)
    })
  )

  it.scoped("passes a RST of one side on to the other", () =>
    Effect.gen(function* () {
      const { peers, proxy } = yield* fixture
      const client = yield* open(proxy)
      yield* echoed(client, "a")
      peers[0]!.socket.resetAndDestroy()
      assert.strictEqual(yield* client.ended, "rst")
      yield* counts(proxy, 0)
    })
  )

  it.scoped("resets the client if nobody listens at the target", () =>
    Effect.gen(function* () {
      const gone = yield* Effect.scoped(Effect.map(echoServer(), ({ target }) => target))
      const proxy = yield* FaultProxy.make({ target: gone })
      const client = yield* open(proxy)
      assert.strictEqual(yield* client.ended, "rst")
      yield* counts(proxy, 0)
    })
  )

  it.scoped("cut ends both sides of every connection with a FIN, and new ones work", () =>
    Effect.gen(function* () {
      const { peers, proxy } = yield* fixture
      const clients = [yield* open(proxy), yield* open(proxy)]
      for (const client of clients) yield* echoed(client, "a")
      assert.strictEqual(yield* proxy.cut, 2)
      assert.strictEqual(yield* proxy.connections, 0)
      for (const peer of [...clients, ...peers]) assert.strictEqual(yield* peer.ended, "fin")
      yield* echoed(yield* open(proxy), "b")
    })
  )

  it.scoped("cut ends a connection with a FIN even while bytes of the client are on their way", () =>
    Effect.gen(function* () {
      const { target } = yield* echoServer({ silent: true })
      const proxy = yield* FaultProxy.make({ target })
      const client = yield* open(proxy)
      // More than the buffers of the kernel hold, so some bytes wait unread in the proxy's socket.
      client.socket.write(Buffer.alloc(32 * 1024 * 1024))
      yield* until(Effect.sync(() => client.socket.bytesWritten > 0 && client.socket.writableLength > 0))
      yield* proxy.cut
      assert.strictEqual(yield* client.ended, "fin")
      // Nobody forwards the rest, but the client gets rid of it and can close in order.
      yield* until(Effect.sync(() => client.socket.writableFinished))
    })
  )

  it.scoped("reset ends both sides of every connection with a RST, and new ones work", () =>
    Effect.gen(function* () {
      const { peers, proxy } = yield* fixture
      const client = yield* open(proxy)
      yield* echoed(client, "a")
      assert.strictEqual(yield* proxy.reset, 1)
      assert.strictEqual(yield* proxy.connections, 0)
      assert.strictEqual(yield* client.ended, "rst")
      assert.strictEqual(yield* peers[0]!.ended, "rst")
      yield* echoed(yield* open(proxy), "b")
    })
  )

  it.scoped("reset closes a connection as well to which a FIN is just being passed on", () =>
    Effect.gen(function* () {
      const { peers, target } = yield* echoServer({ allowHalfOpen: true })
      const proxy = yield* FaultProxy.make({ target })
      const client = yield* open(proxy)
      yield* echoed(client, "a")
      yield* proxy.blackhole()
      client.socket.end()
      yield* settle
      // The FIN is handed to the system and has not left when the reset comes.
      yield* Effect.zipRight(proxy.heal, proxy.reset)
      assert.strictEqual(yield* client.ended, "rst")
      yield* closed(peers[0]!.socket)
    })
  )

  it.scoped("blackhole freezes open connections and swallows new ones; heal delivers what was sent meanwhile", () =>
    Effect.gen(function* () {
      const { peers, proxy } = yield* fixture
      const before = yield* open(proxy)
      yield* echoed(before, "a")
      yield* proxy.blackhole()
      const during = yield* open(proxy)
      before.socket.write("b")
      during.socket.write("c")
      peers[0]!.socket.write("!")
      yield* settle
      assert.strictEqual(before.text(), "a")
      assert.strictEqual(peers[0]!.text(), "a")
      assert.strictEqual(during.text(), "")
      assert.strictEqual(yield* proxy.connections, 2)
      yield* proxy.heal
      yield* before.received("a!b")
      yield* during.received("c")
    })
  )

  it.scoped("blackhole holds back the FIN of a client: the target does not learn that it left", () =>
    Effect.gen(function* () {
      const { peers, proxy } = yield* fixture
      const client = yield* open(proxy)
      yield* echoed(client, "a")
      yield* proxy.blackhole()
      client.socket.destroy()
      yield* settle
      assert.isFalse(peers[0]!.socket.readableEnded)
      assert.strictEqual(yield* proxy.connections, 1)
      yield* proxy.heal
      assert.strictEqual(yield* peers[0]!.ended, "fin")
      yield* counts(proxy, 0)
    })
  )

  it.scoped("blackhole({ new: false }) freezes the open connections alone", () =>
    Effect.gen(function* () {
      const { proxy } = yield* fixture
      const before = yield* open(proxy)
      yield* echoed(before, "a")
      yield* proxy.blackhole({ new: false })
      before.socket.write("b")
      yield* echoed(yield* open(proxy), "new")
      assert.strictEqual(before.text(), "a")
      yield* proxy.heal
      yield* before.received("ab")
    })
  )

  it.scoped("blackhole({ established: false }) swallows new connections alone", () =>
    Effect.gen(function* () {
      const { peers, proxy } = yield* fixture
      const before = yield* open(proxy)
      yield* echoed(before, "a")
      yield* proxy.blackhole({ established: false })
      const during = yield* open(proxy)
      during.socket.write("c")
      yield* counts(proxy, 2)
      for (const text of ["1", "2", "3"]) yield* echoed(before, text)
      assert.strictEqual(during.text(), "")
      assert.strictEqual(peers.length, 1)
    })
  )

  it.scoped("heal leaves connections frozen that were frozen for good; cut still ends them", () =>
    Effect.gen(function* () {
      const { proxy } = yield* fixture
      const before = yield* open(proxy)
      yield* echoed(before, "a")
      yield* proxy.blackhole({ forGood: true })
      yield* proxy.heal
      before.socket.write("b")
      yield* echoed(yield* open(proxy), "new")
      assert.strictEqual(before.text(), "a")
      assert.strictEqual(yield* proxy.cut, 2)
      assert.strictEqual(yield* before.ended, "fin")
    })
  )

  it.scoped("delay holds back each direction, and a shorter one lets no byte overtake another", () =>
    Effect.gen(function* () {
      const { proxy } = yield* fixture
      const client = yield* open(proxy)
      yield* echoed(client, "a")
      yield* proxy.delay("60 millis")
      const [slow] = yield* live(Effect.timed(echoed(client, "b")))
      assert.isAtLeast(Duration.toMillis(slow), 119)
      client.socket.write("c")
      yield* until(Effect.sync(() => client.socket.writableLength === 0))
      yield* proxy.delay(0)
      client.socket.write("d")
      yield* client.received("abcd")
    })
  )

  it.scoped("a wall clock that is set back does not lengthen a delay", () =>
    Effect.gen(function* () {
      const { proxy } = yield* fixture
      const client = yield* open(proxy)
      const { now } = Date
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          Date.now = now
        })
      )
      yield* proxy.delay("500 millis")
      client.socket.write("a")
      yield* settle
      client.socket.write("b")
      yield* settle
      Date.now = () => now() - 3_600_000
      yield* client.received("ab")
    })
  )

  it.scoped("heal delivers at once what a delay held back", () =>
    Effect.gen(function* () {
      const { proxy } = yield* fixture
      const client = yield* open(proxy)
      yield* echoed(client, "a")
      yield* proxy.delay("1 hour")
      client.socket.write("b")
      yield* settle
      client.socket.write("c")
      yield* settle
      assert.strictEqual(client.text(), "a")
      yield* proxy.heal
      yield* client.received("abc")
      yield* echoed(client, "d")
    })
  )

  it.scoped("limit slows each direction down to so many bytes per second", () =>
    Effect.gen(function* () {
      const { proxy } = yield* fixture
      const client = yield* open(proxy)
      yield* proxy.limit(20_000)
      const [slow] = yield* live(Effect.timed(echoed(client, "x".repeat(4000))))
      assert.isAtLeast(Duration.toMillis(slow), 170)
      yield* proxy.heal
      const [fast] = yield* live(Effect.timed(echoed(client, "x".repeat(200_000))))
      assert.isBelow(Duration.toMillis(fast), 5000)
    })
  )

  it.scoped("refuse turns new connections away and leaves open ones alone; heal listens on the same port", () =>
    Effect.gen(function* () {
      const { proxy } = yield* fixture
      const before = yield* open(proxy)
      yield* echoed(before, "a")
      yield* proxy.refuse
      assert.strictEqual(yield* Effect.flip(open(proxy)), "ECONNREFUSED")
      yield* echoed(before, "b")
      yield* proxy.heal
      yield* echoed(yield* open(proxy), "c")
    })
  )

  it.scoped("lets the sender wait while the receiver does not read", () =>
    Effect.gen(function* () {
      const { target } = yield* echoServer({ silent: true })
      const proxy = yield* FaultProxy.make({ target })
      const client = yield* open(proxy)
      const piece = Buffer.alloc(1024 * 1024)
      // The kernel's buffers and ours take some of it, and then no more.
      let flushed = 0
      const more = () =>
        client.socket.write(piece, (error) => {
          if (error) return
          flushed++
          more()
        })
      more()
      let before = -1
      yield* Effect.repeat(
        Effect.suspend(() => {
          before = flushed
          return settle
        }),
        { until: () => before === flushed && flushed > 0 }
      )
      assert.isBelow(flushed, 64)
    })
  )

  it.scoped("closing the scope closes the listener and every connection, frozen ones included", () =>
    Effect.gen(function* () {
      const server = yield* echoServer()
      const scope = yield* Scope.make()
      const proxy = yield* Scope.extend(FaultProxy.make({ target: server.target }), scope)
      const client = yield* open(proxy)
      yield* echoed(client, "a")
      yield* proxy.blackhole()
      yield* Scope.close(scope, Exit.void)
      yield* client.ended
      yield* server.peers[0]!.ended
      assert.strictEqual(yield* proxy.connections, 0)
      assert.strictEqual(yield* Effect.flip(open(proxy)), "ECONNREFUSED")
    })
  )

  it.scoped("closing the scope also ends a connection that was cut and whose client never closed its side", () =>
    Effect.gen(function* () {
      const server = yield* echoServer()
      const scope = yield* Scope.make()
      const proxy = yield* Scope.extend(FaultProxy.make({ target: server.target }), scope)
      const client = yield* open(proxy, true)
      yield* echoed(client, "a")
      yield* proxy.cut
      assert.strictEqual(yield* client.ended, "fin")
      yield* Effect.async<void>((resume) => void client.socket.write("still here", () => resume(Effect.void)))
      assert.isFalse(client.socket.destroyed)
      yield* Scope.close(scope, Exit.void)
      yield* closed(client.socket)
    })
  )

  it.scoped("fails with the port and an advice if the port is taken", () =>
    Effect.gen(function* () {
      const { target } = yield* echoServer()
      const error = yield* Effect.flip(FaultProxy.make({ target, port: target.port }))
      assert.strictEqual(error._tag, "FaultProxyError")
      assert.include(error.message, `127.0.0.1:${target.port}`)
      assert.include(error.message, "another port")
    })
  )
})
