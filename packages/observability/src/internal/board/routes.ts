/** The routes of a board, and what each of them asks of whoever calls it. */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Option, type Scope } from "effect"
import type { Report } from "../../Report.js"
import * as StatsJson from "../../StatsJson.js"
import * as Actions from "./actions.js"
import * as Answers from "./answers.js"
import type * as Assets from "./assets.js"
import * as Door from "./door.js"
import type * as Feed from "./feed.js"
import { includes, type Rights } from "./rights.js"
import * as Session from "./session.js"
import * as Texts from "./texts.js"

export interface Parts {
  readonly title: string
  readonly hosts: ReadonlyArray<string>
  readonly authorize: Door.Authorize | undefined
  readonly sessions: Session.Sessions
  readonly pages: Assets.Pages
  readonly told: Pick<Assets.Told, "panels" | "words" | "thresholds">
  readonly feed: Feed.Feed
  readonly report: Effect.Effect<Report>
  readonly act: Actions.Act
}

type Request = HttpServerRequest.HttpServerRequest

type Handler = (
  request: Request,
  arrival: Door.Arrival
) => Effect.Effect<HttpServerResponse.HttpServerResponse, never, Scope.Scope | HttpRouter.RouteContext>

/** Bytes of a body: the longest names of a pool and an endpoint fit, and a form with a token. */
const LONGEST_BODY = 16_384

/** What the body says. `undefined`: it is too long, does not say how long it is, or cannot be read. Then it is not read. */
const bodyOf = (request: Request): Effect.Effect<string | undefined> => {
  const length = request.headers["content-length"]
  return length === undefined || Number(length) > LONGEST_BODY
    ? Effect.succeed(undefined)
    : Effect.orElseSucceed(request.text, () => undefined)
}

/**
 * Ends the connection of a viewer that does not read. Interrupting its fiber alone would leave a socket open on which something is still to
 * be sent.
 */
const dropOf = (request: Request): Effect.Effect<Effect.Effect<void>> =>
  Effect.withFiberRuntime((fiber) =>
    Effect.succeed(
      Effect.sync(() => {
        const { socket } = request.source as { readonly socket?: { readonly destroy?: () => void } }
        if (socket?.destroy === undefined) fiber.unsafeInterruptAsFork(fiber.id())
        else socket.destroy()
      })
    )
  )

/** Lets those in who came for this board and have the right that is wanted. */
const gate = (
  parts: Parts,
  wanted: Rights,
  handler: Handler
): HttpApp.Default<never, HttpRouter.RouteContext | Scope.Scope> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
    Effect.flatMap(Door.arrive(request, parts.sessions, parts.authorize), (arrival) => {
      if (!arrival.isByToken && !Door.isForUs(request, parts.hosts)) {
        return Effect.succeed(
          Answers.refused(
            421,
            "This board is not known by this name. Add the name to its option hosts, or use its address."
          )
        )
      }
      if (includes(arrival.rights, wanted)) return handler(request, arrival)
      return Effect.succeed(
        arrival.rights === "none"
          ? Answers.refused(401, "Sign in first.", parts.sessions.isUsable ? { "www-authenticate": "Bearer" } : {})
          : Answers.refused(403, `This needs the right "${wanted}", and you have "${arrival.rights}".`)
      )
    })
  )

const page =
  (parts: Parts): Handler =>
  (request, arrival) =>
    Effect.gen(function* () {
      const { pages, sessions, title } = parts
      if (arrival.rights === "none" && parts.sessions.isUsable) {
        return Answers.html(pages.signIn(title, undefined), pages.policy, 401)
      }
      if (arrival.rights === "none") return Answers.refused(401, "You may not see this board.")
      const isAdmin = includes(arrival.rights, "admin")
      const { pid, pod } = yield* parts.report
      return Answers.html(
        pages.board({
          ...parts.told,
          title,
          rights: arrival.rights,
          who: arrival.who,
          forgeryToken: isAdmin ? sessions.forgeryToken(arrival) : undefined,
          canSignIn: sessions.isUsable && parts.authorize === undefined && !includes(arrival.rights, "texts"),
          canSignOut: request.cookies[Session.COOKIE] !== undefined && !arrival.isByToken,
          self: { pod, pid }
        }),
        pages.policy
      )
    })

/** The last part of the path, as the browser has it: what stands before it may have been taken away by a proxy. */
const sameAgain = (request: Request): string => /([^/?#]*)(?:[?#].*)?$/.exec(request.originalUrl)?.[1] || "./"

const cookie = (request: Request, value: string, maxAge: number): string =>
  `${Session.COOKIE}=${value}; Max-Age=${maxAge}; Path=/; HttpOnly; SameSite=Strict${
    request.headers["x-forwarded-proto"] === "https" ? "; Secure" : ""
  }`

const toPage = (request: Request, value: string, maxAge: number) =>
  HttpServerResponse.empty({
    status: 303,
    headers: { location: sameAgain(request), "set-cookie": cookie(request, value, maxAge), "cache-control": "no-store" }
  })

/** The form of the page: it signs in with a token, and out without one. */
const sign =
  ({ pages, sessions, title }: Parts): Handler =>
  (request) =>
    Effect.gen(function* () {
      if (!Door.isSameOrigin(request)) return Answers.refused(403, "Only the page of this board may sign in.")
      const form = new URLSearchParams((yield* bodyOf(request)) ?? "")
      if (form.has("out")) return toPage(request, "", 0)
      const viewer = sessions.ofToken(form.get("token")?.trim() ?? "")
      if (viewer === undefined) {
        yield* Effect.logWarning("somebody has tried to sign in to the board with a wrong token")
        return Answers.html(pages.signIn(title, "This token is not right."), pages.policy, 401)
      }
      yield* Effect.logInfo(`${viewer.who} has signed in to the board`)
      const { maxAge, value } = yield* sessions.cookieFor(viewer)
      return toPage(request, value, maxAge)
    })

const events =
  ({ feed }: Parts): Handler =>
  (request, { rights }) =>
    Effect.gen(function* () {
      const drop = yield* dropOf(request)
      const frames = yield* feed.open(rights, drop)
      return frames === undefined
        ? Answers.refused(503, "Too many people look at this board.", { "retry-after": "30" })
        : HttpServerResponse.stream(frames, { contentType: "text/event-stream", headers: Answers.eventHeaders })
    })

const stats =
  ({ report }: Parts): Handler =>
  (_, { rights }) =>
    Effect.map(report, (report) =>
      Answers.json(StatsJson.encode(includes(rights, "texts") ? report : Texts.without(report)))
    )

/** The header that a form of another site cannot send. */
const FORGERY_HEADER = "x-sluice-board"

const act =
  ({ act, sessions }: Parts): Handler =>
  (request, arrival) =>
    Effect.gen(function* () {
      const isOfPage =
        Door.isSameOrigin(request) && sessions.isForgeryToken(arrival, request.headers[FORGERY_HEADER] ?? "")
      if (!arrival.isByToken && !isOfPage) {
        return Answers.refused(403, "The request was not made by the page of this board. Load the page again.")
      }
      const { params } = yield* HttpRouter.RouteContext
      const read = Actions.read(params["action"] ?? "", yield* bodyOf(request))
      if (Option.isNone(read)) return Answers.refused(400, "There is no such action.")
      const action = read.value
      return yield* Effect.matchEffect(act(action), {
        onFailure: ({ message }) =>
          Effect.as(
            Effect.logWarning(`the board could not ${action._tag} for ${arrival.who}: ${message}`),
            Answers.refused(409, message)
          ),
        onSuccess: ({ message, what }) =>
          Effect.as(
            Effect.logInfo(`${arrival.who} has had the board ${what}`),
            Answers.json(JSON.stringify({ message }))
          )
      })
    })

/** All routes, relative to the place where the board is mounted. */
export const make = (parts: Parts): HttpApp.Default =>
  HttpRouter.empty.pipe(
    HttpRouter.get("/", gate(parts, "none", page(parts))),
    HttpRouter.post("/", gate(parts, "none", sign(parts))),
    HttpRouter.get("/events", gate(parts, "numbers", events(parts))),
    HttpRouter.get("/stats.json", gate(parts, "numbers", stats(parts))),
    HttpRouter.post("/actions/:action", gate(parts, "admin", act(parts))),
    Effect.catchTag("RouteNotFound", () => Effect.succeed(Answers.refused(404, "There is nothing here."))),
    // Where the board is mounted under a path, `/path?pool=orders` arrives as `?pool=orders`.
    Effect.updateService(HttpServerRequest.HttpServerRequest, (request) =>
      request.url.startsWith("/") ? request : request.modify({ url: `/${request.url}` })
    )
  )
