/** A board on a port of this machine, and requests whose every header the test decides. */
import { type IncomingMessage, request } from "node:http"
import { Effect, Redacted, type Scope } from "effect"
import * as Actions from "../../src/internal/board/actions.js"
import * as Board from "../../src/internal/board/board.js"
import { serve } from "../../src/internal/board/serve.js"
import type * as Pods from "../../src/Pods.js"
import * as Thresholds from "../../src/Thresholds.js"
import * as Boards from "./boards.js"

export const ADMIN = "the-token-of-the-admin"
export const READER = "the-token-of-readers"

export interface Serving {
  readonly port: number
  readonly viewers: Effect.Effect<number>
  /** The actions that were done. */
  readonly done: Array<Actions.Action>
  /** How many reports were made. */
  readonly made: () => number
}

/** A board of the fleet, until the scope closes. An action on pool 404 is refused. */
export const serving = (
  settings: Partial<Board.Settings> = {},
  fleet: Effect.Effect<Pods.Fleet> = Effect.succeed({ reports: Boards.fleet(1), silent: [] })
): Effect.Effect<Serving, never, Scope.Scope> =>
  Effect.gen(function* () {
    const done: Array<Actions.Action> = []
    let made = 0
    const board = yield* Board.make(
      {
        title: "Pools",
        tokens: { admin: Redacted.make(ADMIN), read: Redacted.make(READER) },
        authorize: undefined,
        hosts: [],
        maxViewers: 100,
        thresholds: Thresholds.standard,
        ...settings
      },
      {
        report: Effect.map(fleet, ({ reports }) => reports[0]!),
        fleet: Effect.tap(fleet, () => {
          made++
        }),
        act: (action) =>
          action.pool === 404
            ? Effect.fail(new Actions.ActionRefused({ message: "This pool is not open any more." }))
            : Effect.sync(() => {
                done.push(action)
                return { what: `${action._tag} pool "orders"`, message: "It is done." }
              })
      }
    )
    const address = yield* Effect.orDie(serve(board.app, { port: 0, host: "127.0.0.1" }))
    return { port: Number(new URL(address).port), viewers: board.viewers, done, made: () => made }
  })

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage["headers"]
  readonly body: string
}

export interface Asked {
  readonly method?: "GET" | "POST" | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | undefined
  /** Ends the answer after this text, for answers that have no end. */
  readonly until?: string | undefined
}

export const ask = (port: number, path: string, asked: Asked = {}): Effect.Effect<Answer> =>
  Effect.async((resume) => {
    const { body, headers = {}, method = "GET", until } = asked
    const sent = request({ port, host: "127.0.0.1", path, method, headers, agent: false }, (answer) => {
      let text = ""
      const end = () => resume(Effect.succeed({ status: answer.statusCode!, headers: answer.headers, body: text }))
      answer.setEncoding("utf8")
      answer.on("data", (part) => {
        text += part
        if (until === undefined || !text.includes(until)) return
        end()
        sent.destroy()
      })
      answer.on("end", end)
      answer.on("error", end)
    })
    sent.on("error", (error) => resume(Effect.die(error)))
    sent.end(body)
    return Effect.sync(() => sent.destroy())
  })

export const bearer = (token: string): Readonly<Record<string, string>> => ({ authorization: `Bearer ${token}` })

/** What a page of this board sends with a form. */
export const ofPage = (port: number): Readonly<Record<string, string>> => ({
  host: `127.0.0.1:${port}`,
  origin: `http://127.0.0.1:${port}`,
  "sec-fetch-site": "same-origin",
  "content-type": "application/x-www-form-urlencoded"
})

/** The cookie of a browser that has signed in with this token. */
export const signedIn = (port: number, token: string): Effect.Effect<string> =>
  Effect.map(
    ask(port, "/", { method: "POST", headers: ofPage(port), body: `token=${encodeURIComponent(token)}` }),
    ({ headers }) => headers["set-cookie"]![0]!.split(";")[0]!
  )

/** What the page is told. */
export const toldIn = (page: string): Record<string, any> =>
  JSON.parse(/<script type="application\/json" id="told">(.*?)<\/script>/s.exec(page)![1]!)
