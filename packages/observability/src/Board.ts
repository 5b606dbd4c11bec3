/**
 * The web board: one page that shows what the pools of a program do, served by the program itself. It is drawn anew every second.
 *
 * Three rights:
 *
 * | who | sees | may |
 * | --- | --- | --- |
 * | anyone on the machine itself | numbers, names of pools, endpoints | |
 * | who has the token `read` | also what is done on a connection, and the span in which | |
 * | who has the token `admin` | the same | drain, reset, suspend, resume a pool; cancel a statement |
 *
 * 1. The page asks for nothing from elsewhere, and runs no program but its own (`Content-Security-Policy`).
 * 2. No parameter of a statement and no password is on the page.
 * 3. Every action is a POST that no other site can forge, and is logged with who has done it.
 * 4. However many look at it, a report is made once a second for all who may see the same. Nothing is kept for a browser that does not
 *    read.
 * 5. A name that is not known to be this board's is refused, so that no other site can read the numbers by way of a name of its own.
 *
 * @since 0.2.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import type { ServeError } from "@effect/platform/HttpServerError"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as OptionTable from "@sluice/pool/OptionTable"
import { Data, Effect, Layer, Option, Redacted, type Scope } from "effect"
import * as Actions from "./internal/board/actions.js"
import * as Running from "./internal/board/board.js"
import type { Rights as RightsOf, Viewer as ViewerOf } from "./internal/board/rights.js"
import { serve } from "./internal/board/serve.js"
import * as Session from "./internal/board/session.js"
import type { Fleet } from "./Pods.js"
import * as Recorder from "./Recorder.js"
import * as Thresholds from "./Thresholds.js"

/**
 * What somebody may see and do: `none`, `numbers`, `texts` (also SQL texts and spans), `admin` (also the actions).
 *
 * @since 0.2.0
 * @category models
 */
export type Rights = RightsOf

/**
 * Whoever looks at the board.
 *
 * @since 0.2.0
 * @category models
 */
export interface Viewer extends ViewerOf {}

/**
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** What stands at the top of the page, and in the tab. Default `Connection Pool Health`. */
  readonly title?: string | undefined
  /**
   * Whoever has one of these may see more, as `Authorization: Bearer <token>` or by the form of the page. At least 16 visible
   * ASCII characters each, and two different ones.
   */
  readonly tokens?:
    | { readonly read?: Redacted.Redacted | undefined; readonly admin?: Redacted.Redacted | undefined }
    | undefined
  /**
   * Says of each request who it comes from and what that one may. It is asked instead of the tokens, and also for requests from the
   * machine itself.
   *
   * **When to use:** behind a proxy that signs people in, or with the sessions of your own program. Never believe a header that the
   * proxy does not overwrite.
   */
  readonly authorize?: ((request: HttpServerRequest) => Effect.Effect<Viewer>) | undefined
  /** Names by which the board is reached, beside `localhost` and addresses, without the port: `board.example.org`. */
  readonly hosts?: ReadonlyArray<string> | undefined
  /**
   * How many may look at the same time. One more is answered with 503.
   *
   * - Default 100. Range 1 to 1,000.
   */
  readonly maxViewers?: number | undefined
  /** From which on something is wrong. Default `Thresholds.standard`. */
  readonly thresholds?: Thresholds.Options | undefined
  /**
   * All processes that the board shows, such as the `fleet` of `Pods.make`. It is run once a second while somebody looks, and must not
   * take longer. Default: this process alone.
   */
  readonly fleet?: Effect.Effect<Fleet> | undefined
}

/**
 * Where a board that serves itself listens.
 *
 * @since 0.2.0
 * @category models
 */
export interface ServeOptions extends Options {
  /** 0: one that is free. Default 9470. */
  readonly port?: number | undefined
  /** Default `127.0.0.1`. Another one needs `tokens` or `authorize`, because others than those on this machine can come then. */
  readonly host?: string | undefined
}

/**
 * A board that cannot work. Lists every problem, not the first.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidBoard extends Data.TaggedError("InvalidBoard")<{ readonly problems: ReadonlyArray<string> }> {
  override get message(): string {
    return `the board is invalid: ${this.problems.join("; ")}`
  }
}

const token: OptionTable.Check = (value, path) => {
  if (!Redacted.isRedacted(value)) return [`${path} must be a Redacted, so that it is in no log`]
  const text = Redacted.value(value)
  if (typeof text !== "string") return [`${path} must have a text in it`]
  if (!/^[!-~]*$/.test(text)) return [`${path} has characters that no header can carry, such as a space`]
  return text.length < Session.SHORTEST
    ? [`${path} has ${text.length} characters, and needs at least ${Session.SHORTEST}`]
    : []
}

const whole = (least: number, most: number): OptionTable.Check =>
  OptionTable.that(
    `a whole number from ${least} to ${most}`,
    (value) => Number.isInteger(value) && Number(value) >= least && Number(value) <= most
  )

const tokenTable: OptionTable.Table<Session.Tokens> = { read: token, admin: token }

const table: OptionTable.Table<Options> = {
  title: OptionTable.text,
  tokens: OptionTable.nested(tokenTable),
  authorize: OptionTable.aFunction,
  hosts: OptionTable.listOf(OptionTable.text),
  maxViewers: whole(1, 1_000),
  thresholds: OptionTable.anObject,
  fleet: OptionTable.that("an effect", Effect.isEffect)
}

const serveTable: OptionTable.Table<ServeOptions> = { ...table, port: whole(0, 65_535), host: OptionTable.text }

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host)

const isSame = ({ admin, read }: Session.Tokens): boolean =>
  admin !== undefined && read !== undefined && Redacted.value(admin) === Redacted.value(read)

/** Problems of the tokens that are seen only when each of them is right. */
const problemsOf = ({ authorize, host, tokens = {} }: ServeOptions): ReadonlyArray<string> => [
  ...(isSame(tokens) ? ["tokens.read and tokens.admin are the same"] : []),
  ...(authorize !== undefined && (tokens.read ?? tokens.admin) !== undefined
    ? ["authorize is asked instead of the tokens, so give one of the two"]
    : []),
  ...(host !== undefined && !isLoopback(host) && (authorize ?? tokens.read ?? tokens.admin) === undefined
    ? [`host is ${JSON.stringify(host)}, where everybody who reaches it would see the board: give tokens or authorize`]
    : [])
]

const checked = (options: ServeOptions, table: OptionTable.Table): Effect.Effect<void, InvalidBoard> =>
  Effect.suspend(() => {
    const found = OptionTable.problems(options, table)
    const problems = found.length > 0 ? found : problemsOf(options)
    return problems.length > 0 ? Effect.fail(new InvalidBoard({ problems })) : Effect.void
  })

/**
 * A board in a server of the program's own.
 *
 * @since 0.2.0
 * @category models
 */
export interface Board {
  /** Answers under the path where it is mounted, for example `HttpRouter.mountApp("/pools", board.app)`. */
  readonly app: HttpApp.Default
  /** How many look at it now. */
  readonly viewers: Effect.Effect<number>
}

const started = (options: ServeOptions): Effect.Effect<Board, InvalidBoard, Scope.Scope> =>
  Effect.gen(function* () {
    const { authorize, hosts = [], maxViewers = 100, title = "Connection Pool Health", tokens = {} } = options
    const thresholds = yield* Thresholds.make(options.thresholds)
    const shared = yield* Effect.serviceOption(Recorder.Recorder)
    const recorder = Option.isSome(shared) ? shared.value : yield* Recorder.make({ thresholds })
    const report = recorder.report({ texts: true })
    const { fleet = Effect.map(report, (report) => ({ reports: [report], silent: [] })) } = options
    return yield* Running.make(
      { title, tokens, authorize, hosts, maxViewers, thresholds },
      { report, fleet, act: Actions.act(recorder) }
    )
  }).pipe(
    Effect.catchTags({
      InvalidOptions: ({ problems }) => new InvalidBoard({ problems }),
      InvalidThresholds: ({ problems }) => new InvalidBoard({ problems })
    })
  )

/**
 * A board for a server of the program's own. It shows every pool of the process, whoever has made it.
 *
 * - Fails with `InvalidBoard`, which lists every problem.
 * - Mount its `app` under a path: `HttpRouter.mountApp("/pools", board.app)`. Leave it outside of `RequestConnection`: it needs no
 *   connection.
 * - Whoever can reach the server can ask for the page. Without `tokens` and `authorize` only those on this machine see something.
 * - It has a recorder of its own, unless there is a `Recorder` in the context.
 * - When the scope closes, the page is told so, and its connections end.
 *
 * @see `layer` for a board that serves itself.
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Board, InvalidBoard, Scope.Scope> =>
  Effect.zipRight(checked(options, table), started(options))

/**
 * A board that serves itself, on `http://127.0.0.1:9470` unless told otherwise. It needs `@effect/platform-node`.
 *
 * **When to use:** where the program has no HTTP server, or where the board must not be reached through it.
 *
 * - Fails with `InvalidBoard`, which lists every problem, and with `ServeError` if the port is taken.
 * - The address is logged.
 *
 * @example
 * ```ts
 * import { Board } from "@sluice/observability"
 * import { PgSql } from "@sluice/sql-pg"
 * import { Layer, Redacted } from "effect"
 *
 * const SqlLive = PgSql.layer({ primary: { url: Redacted.make("postgres://app@db-1/pay") } })
 *
 * export const Main = SqlLive.pipe(Layer.merge(Board.layer({ port: 0 })))
 * ```
 *
 * @see `make` for a board in a server that there is.
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: ServeOptions = {}): Layer.Layer<never, InvalidBoard | ServeError> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      yield* checked(options, serveTable)
      const { host = "127.0.0.1", port = 9470 } = options
      const { app } = yield* started(options)
      const address = yield* serve(app, { host, port })
      yield* Effect.logInfo(`the board of the pools is on ${address}`)
    })
  )
