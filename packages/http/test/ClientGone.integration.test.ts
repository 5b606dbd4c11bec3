/**
 * Conditions × results, on real sockets. Each condition is seen twice: by who listened before anything happened, and by who
 * asks afterwards; the two must agree, or a client that goes early would be missed.
 */
import type { ServerHttp2Stream } from "node:http2"
import type { Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { ClientGone } from "@sluice/http"
import { Effect } from "effect"
import { eventually } from "../../sql/test/support/eventually.js"
import * as Clients from "./support/clients.js"

/** A request in the hands of its handler. */
interface Held {
  readonly request: any
  readonly response: any
  readonly bodyRead: () => boolean
  /** How often the listener was called. */
  readonly told: () => number
}

/** Holds every request until the test lets it go. */
const holder = () => {
  const held: Array<Held> = []
  const handler = (request: any, response: any) => {
    let bodyRead = false
    let told = 0
    request.on("error", () => {})
    request.on("end", () => {
      bodyRead = true
    })
    request.resume()
    ClientGone.onGone(request, response, () => {
      told++
    })
    held.push({ request, response, bodyRead: () => bodyRead, told: () => told })
  }
  return {
    handler,
    /** The requests, when so many are here and the body of each that has one was read. */
    arrived: (count: number, isRead = true) =>
      Effect.as(
        eventually(
          `${count} requests are here`,
          Effect.sync(() => held.length === count && (!isRead || held.every(({ bodyRead }) => bodyRead())))
        ),
        held as ReadonlyArray<Held>
      )
  }
}

const seen = ({ request, response, told }: Held) => [told(), ClientGone.isGone(request, response)]

const gone = [1, true]
const here = [0, false]

const transportClosed = ({ request }: Held) => {
  const transport: Socket | ServerHttp2Stream = request.stream ?? request.socket
  return eventually(
    "the transport has ended",
    Effect.sync(() => transport.closed && transport.destroyed)
  )
}

type Leave = (client: Clients.Raw) => void

const fin: Leave = ({ socket }) => void socket.end()
const rst: Leave = ({ socket }) => void socket.resetAndDestroy()
const closes: Leave = ({ socket }) => void socket.destroy()

describe("a client that is here", () => {
  const healthy: Record<string, string> = {
    "a GET": Clients.get,
    "a GET of HTTP/1.0": "GET / HTTP/1.0\r\n\r\n",
    "a POST whose body was read": Clients.post,
    "a GET that asks for an upgrade that the server does not know":
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
  }
  for (const [what, text] of Object.entries(healthy)) {
    it.scopedLive(`${what} is not gone, neither while it waits nor after its answer`, () =>
      Effect.gen(function* () {
        const { arrived, handler } = holder()
        const client = yield* Clients.raw(yield* Clients.http1(handler), text)
        const [one] = yield* arrived(1)
        assert.deepStrictEqual(seen(one!), here)
        one!.response.end("answer")
        yield* eventually(
          "the answer is here",
          Effect.sync(() => client.text().includes("answer"))
        )
        client.socket.destroy()
        yield* transportClosed(one!)
        assert.deepStrictEqual(seen(one!), here)
      })
    )
  }

  it.scopedLive("one that shuts down its sending side gets its answer where the server allows half-open sockets", () =>
    Effect.gen(function* () {
      const { arrived, handler } = holder()
      const client = yield* Clients.raw(yield* Clients.http1(handler, { halfOpen: true }), Clients.post)
      const [one] = yield* arrived(1)
      fin(client)
      yield* eventually(
        "the server has seen the FIN",
        Effect.sync(() => one!.request.socket.readableEnded)
      )
      assert.deepStrictEqual(seen(one!), here)
      one!.response.end("answer")
      yield* eventually(
        "the answer is here",
        Effect.sync(() => client.text().includes("answer"))
      )
      yield* transportClosed(one!)
      assert.deepStrictEqual(seen(one!), here)
    })
  )

  it.scopedLive("100 pipelined requests are here, and their one socket has one listener of ours", () =>
    Effect.gen(function* () {
      const { arrived, handler } = holder()
      const port = yield* Clients.http1((request, response) => {
        const before = request.socket.listenerCount("close")
        handler(request, response)
        response.listenersAdded = request.socket.listenerCount("close") - before
      })
      const client = yield* Clients.raw(port, Clients.post.repeat(100))
      const all = yield* arrived(100)
      assert.deepStrictEqual(all.map(seen), Array(100).fill(here))
      assert.strictEqual(
        all.reduce((sum, { response }) => sum + response.listenersAdded, 0),
        1
      )
      for (const { response } of all) response.end("answer")
      yield* eventually(
        "100 answers are here",
        Effect.sync(() => client.text().split("answer").length === 101)
      )
      closes(client)
      yield* transportClosed(all[0]!)
      assert.deepStrictEqual(all.map(seen), Array(100).fill(here))
    })
  )

  it.scopedLive("one that leaves a long answer unread is not gone: the answer was given whole", () =>
    Effect.gen(function* () {
      const { arrived, handler } = holder()
      const client = yield* Clients.raw(yield* Clients.http1(handler), Clients.get)
      client.socket.pause()
      const [one] = yield* arrived(1)
      one!.response.end(Buffer.alloc(20_000_000))
      assert.isFalse(one!.response.writableFinished)
      rst(client)
      yield* transportClosed(one!)
      assert.deepStrictEqual(seen(one!), here)
    })
  )

  for (const method of ["GET", "POST"]) {
    it.scopedLive(`a ${method} over HTTP/2 is not gone, neither while it waits nor after its answer`, () =>
      Effect.gen(function* () {
        const { arrived, handler } = holder()
        const client = yield* Clients.session(yield* Clients.http2(handler))
        let got = ""
        const stream = client.request({ ":method": method })
        stream.on("data", (bytes) => {
          got += bytes
        })
        stream.end(method === "POST" ? "hello" : undefined)
        const [one] = yield* arrived(1)
        assert.deepStrictEqual(seen(one!), here)
        one!.response.end("answer")
        yield* transportClosed(one!)
        assert.strictEqual(got, "answer")
        assert.deepStrictEqual(seen(one!), here)
      })
    )
  }
})

describe("a client that is gone", () => {
  const expecting = Clients.post.replace("Content-Length", "Expect: 100-continue\r\nContent-Length").slice(0, -7)
  const cases: ReadonlyArray<readonly [string, string, Leave]> = [
    ["a GET that ends with a FIN", Clients.get, fin],
    ["a GET that ends with a RST", Clients.get, rst],
    ["a POST whose body was read, with a FIN", Clients.post, fin],
    ["a POST whose body was read, with a RST", Clients.post, rst],
    ["a POST inside of its body", Clients.post.slice(0, -2), closes],
    ["a POST before its body, which it was told to send", expecting, closes]
  ]
  for (const [what, text, leave] of cases) {
    it.scopedLive(`${what}: it is told once, and found out afterwards`, () =>
      Effect.gen(function* () {
        const { arrived, handler } = holder()
        const client = yield* Clients.raw(yield* Clients.http1(handler), text)
        const [one] = yield* arrived(1, text === Clients.post)
        assert.deepStrictEqual(seen(one!), here)
        leave(client)
        yield* transportClosed(one!)
        assert.deepStrictEqual(seen(one!), gone)
      })
    )
  }

  it.scopedLive("every request of a pipelined socket is told, also those whose answers wait behind others", () =>
    Effect.gen(function* () {
      const { arrived, handler } = holder()
      const client = yield* Clients.raw(yield* Clients.http1(handler), Clients.post + Clients.get + Clients.post)
      const all = yield* arrived(3)
      closes(client)
      yield* transportClosed(all[0]!)
      assert.deepStrictEqual(all.map(seen), [gone, gone, gone])
    })
  )

  it.scopedLive("the second request of a kept socket is told, and the first, which was answered, is not", () =>
    Effect.gen(function* () {
      const { arrived, handler } = holder()
      const client = yield* Clients.raw(yield* Clients.http1(handler), Clients.get)
      const [first] = yield* arrived(1)
      first!.response.end("answer")
      yield* eventually(
        "the answer is here",
        Effect.sync(() => client.text().includes("answer"))
      )
      client.socket.write(Clients.post)
      const [, second] = yield* arrived(2)
      closes(client)
      yield* transportClosed(second!)
      assert.deepStrictEqual([first!, second!].map(seen), [here, gone])
    })
  )

  for (const method of ["GET", "POST"]) {
    for (const code of [0, 8]) {
      it.scopedLive(`a ${method} over HTTP/2 whose stream is reset with code ${code}`, () =>
        Effect.gen(function* () {
          const { arrived, handler } = holder()
          const client = yield* Clients.session(yield* Clients.http2(handler))
          const stream = client.request({ ":method": method }).on("error", () => {})
          if (method === "POST") stream.end("hello")
          const [one] = yield* arrived(1)
          stream.close(code)
          yield* transportClosed(one!)
          assert.deepStrictEqual(seen(one!), gone)
        })
      )
    }
  }

  it.scopedLive("an HTTP/2 session that ends takes all of its requests along", () =>
    Effect.gen(function* () {
      const { arrived, handler } = holder()
      const client = yield* Clients.session(yield* Clients.http2(handler))
      for (let i = 0; i < 3; i++)
        client
          .request({ ":method": "POST" })
          .on("error", () => {})
          .end("hello")
      const all = yield* arrived(3)
      client.destroy()
      yield* Effect.forEach(all, transportClosed)
      assert.deepStrictEqual(all.map(seen), [gone, gone, gone])
    })
  )

  it.scopedLive("who has stopped listening is not told", () =>
    Effect.gen(function* () {
      let told = 0
      let response: any
      const { arrived, handler } = holder()
      const port = yield* Clients.http1((request, one) => {
        response = one
        handler(request, one)
        ClientGone.onGone(request, one, () => told++)()
      })
      const client = yield* Clients.raw(port, Clients.get)
      const [one] = yield* arrived(1)
      closes(client)
      yield* transportClosed(one!)
      assert.isFalse(response.writableEnded)
      assert.strictEqual(told, 0)
    })
  )
})
