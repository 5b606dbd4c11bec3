/** The servers that are bound here, each used by its own conventions, with the same handlers behind them. */
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"
import type { SqlError } from "@effect/sql/SqlError"
import { NodeHttp, type RequestConnection } from "@sluice/http"
import * as Express from "@sluice/http/Express"
import * as Fastify from "@sluice/http/Fastify"
import type { Sql } from "@sluice/sql"
import { Effect, Scope } from "effect"
import express from "express"
import fastify, { type FastifyInstance } from "fastify"
import * as Clients from "./clients.js"

/** What a handler knows of its request, and does with its response. */
export interface Exchange {
  readonly body: any
  readonly status: (status: number) => void
  readonly header: (name: string, value: string) => void
  /** Sends the answer itself, as handlers without this package do. */
  readonly answer: (text: string) => void
}

export interface Site {
  readonly options?: RequestConnection.RequestOptions
  /** By path. */
  readonly handlers: Readonly<Record<string, (exchange: Exchange) => Effect.Effect<unknown, unknown, Sql.Sql>>>
  /** What a middleware waits for, after the body was read and before the handler. */
  readonly middleware?: (path: string, transport: import("node:stream").Duplex) => Promise<unknown> | undefined
  /** In which the bindings live. Default: that of the server. */
  readonly bindings?: Scope.Scope
  /** Failures that came to the server's own error handler, or into the log where it has none. */
  readonly errors?: Array<unknown>
}

export interface Server {
  readonly isHttp2: boolean
  readonly serve: (site: Site) => Effect.Effect<number, SqlError, Sql.Sql | Scope.Scope>
}

const bound = <A, E, R>({ bindings }: Site, binding: Effect.Effect<A, E, R>) =>
  bindings === undefined ? binding : Effect.provideService(binding, Scope.Scope, bindings)

const pathOf = (url: string | undefined) => (url ?? "/").split("?")[0]!

/** Node's servers have neither middleware nor bodies: what is around the handlers is what a program would write itself. */
const node = (isHttp2: boolean): Server => ({
  isHttp2,
  serve: (site) =>
    Effect.gen(function* () {
      const route = yield* bound(site, NodeHttp.make(site.options))
      const bodies = new WeakMap<object, unknown>()
      const listener = route((request, response) =>
        site.handlers[pathOf(request.url)]!({
          body: bodies.get(request),
          status: (status) => {
            response.statusCode = status
          },
          header: (name, value) => response.setHeader(name, value),
          answer: (text) => response.end(text)
        })
      )
      const handler: Clients.Handler = (request, response) => {
        const begin = async () => {
          const read = await text(request)
          bodies.set(request, read === "" ? undefined : JSON.parse(read))
          await site.middleware?.(pathOf(request.url), request.stream ?? request.socket)
          listener(request, response)
        }
        // A client that leaves inside of its body.
        begin().catch(() => {})
      }
      return yield* isHttp2 ? Clients.http2(handler) : Clients.http1(handler)
    })
})

const onExpress: Server = {
  isHttp2: false,
  serve: (site) =>
    Effect.gen(function* () {
      const route = yield* bound(site, Express.make(site.options))
      const app = express()
      app.use(express.json())
      app.use(async (request, _response, next) => {
        await site.middleware?.(request.path, request.socket)
        next()
      })
      for (const [path, handle] of Object.entries(site.handlers)) {
        app.all(
          path,
          route((request, response) =>
            handle({
              body: request.body,
              status: (status) => void response.status(status),
              header: (name, value) => void response.set(name, value),
              answer: (text) => void response.send(text)
            })
          )
        )
      }
      app.use(((error, _request, response, next) => {
        site.errors?.push(error)
        if (response.headersSent) next(error)
        else response.status(error.status ?? 500).send("by the error handler")
      }) as express.ErrorRequestHandler)
      return yield* Clients.http1(app)
    })
}

const onFastify = (isHttp2: boolean): Server => ({
  isHttp2,
  serve: (site) =>
    Effect.gen(function* () {
      const route = yield* bound(site, Fastify.make(site.options))
      const app: FastifyInstance = isHttp2 ? (fastify({ http2: true }) as unknown as FastifyInstance) : fastify()
      app.addHook("preHandler", async (request) => {
        await site.middleware?.(pathOf(request.url), (request.raw as any).stream ?? request.raw.socket)
      })
      for (const [url, handle] of Object.entries(site.handlers)) {
        app.route({
          method: ["GET", "POST"],
          url,
          handler: route((request, reply) =>
            handle({
              body: request.body,
              status: (status) => void reply.code(status),
              header: (name, value) => void reply.header(name, value),
              answer: (text) => void reply.send(text)
            })
          )
        })
      }
      app.setErrorHandler((error: any, _request, reply) => {
        site.errors?.push(error)
        return reply.code(error.statusCode ?? 500).send("by the error handler")
      })
      const sessions = new Set<any>()
      app.server.on("session", (session) => void sessions.add(session))
      return yield* Effect.acquireRelease(
        Effect.promise(async () => {
          await app.listen({ host: "127.0.0.1", port: 0 })
          return (app.server.address() as AddressInfo).port
        }),
        () =>
          Effect.promise(() => {
            const closed = app.close()
            for (const session of sessions) session.destroy()
            app.server.closeAllConnections?.()
            return closed
          })
      )
    })
})

export const servers: Readonly<Record<string, Server>> = {
  "node:http": node(false),
  "node:http2": node(true),
  "Express 5": onExpress,
  "Fastify 5": onFastify(false),
  "Fastify 5 over HTTP/2": onFastify(true)
}

/** What came back. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly text: string
}

/** A request to a server, whatever its protocol. With a body it is a POST. */
export const ask = (
  { isHttp2 }: Server,
  port: number,
  path: string,
  { body, headers }: { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> } = {}
): Effect.Effect<Answer> => {
  const method = body === undefined ? "GET" : "POST"
  const all = { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers }
  const sent = body === undefined ? undefined : JSON.stringify(body)
  return isHttp2
    ? Effect.scoped(
        Effect.flatMap(Clients.session(port), (session) =>
          Effect.async<Answer>((resume) => {
            let text = ""
            let head: any = {}
            session
              .request({ ":path": path, ":method": method, ...all }, { endStream: sent === undefined })
              .on("response", (given) => {
                head = given
              })
              .on("data", (bytes) => {
                text += bytes
              })
              .on("error", (error) => resume(Effect.die(error)))
              .on("close", () => resume(Effect.succeed({ status: head[":status"], headers: head, text })))
              .end(sent)
          })
        )
      )
    : Effect.promise(async (signal) => {
        const response = await fetch(`http://127.0.0.1:${port}${path}`, {
          method,
          headers: all,
          signal,
          body: sent ?? null
        })
        const cookies = response.headers.getSetCookie()
        return {
          status: response.status,
          headers: {
            ...Object.fromEntries(response.headers),
            ...(cookies.length > 0 ? { "set-cookie": cookies } : {})
          },
          text: await response.text()
        }
      })
}

/** A request whose client leaves when it is told to. */
export const leave = (
  { isHttp2 }: Server,
  port: number,
  path: string,
  method: "GET" | "POST"
): Effect.Effect<{ readonly leave: () => void; readonly read: () => string }, never, Scope.Scope> =>
  isHttp2
    ? Effect.map(Clients.session(port), (session) => {
        let text = ""
        const stream = session
          .request(
            { ":path": path, ":method": method, ...(method === "POST" ? { "content-type": "application/json" } : {}) },
            { endStream: method === "GET" }
          )
          .on("error", () => {})
          .on("data", (bytes) => {
            text += bytes
          })
        if (method === "POST") stream.end('{"a":1}')
        return { leave: () => stream.close(8), read: () => text }
      })
    : Effect.map(
        Clients.raw(port, (method === "GET" ? Clients.get : Clients.post).replace(" / ", ` ${path} `)),
        ({ socket, text }) => ({ leave: () => void socket.destroy(), read: text })
      )
