/** A board over whatever makes reports: its feed, its pages, its routes. */
import type * as HttpApp from "@effect/platform/HttpApp"
import { Clock, Effect, type Redacted, type Scope } from "effect"
import * as Panels from "../../Panels.js"
import type { Fleet } from "../../Pods.js"
import type { Report } from "../../Report.js"
import type { Thresholds } from "../../Thresholds.js"
import * as Verdict from "../../Verdict.js"
import type * as Actions from "./actions.js"
import * as Assets from "./assets.js"
import type * as Door from "./door.js"
import * as Feed from "./feed.js"
import { includes, type Rights } from "./rights.js"
import * as Routes from "./routes.js"
import * as Session from "./session.js"
import * as Texts from "./texts.js"

/** Where a board has its data from. */
export interface Source {
  /** This process. */
  readonly report: Effect.Effect<Report>
  readonly fleet: Effect.Effect<Fleet>
  readonly act: Actions.Act
}

export interface Settings {
  readonly title: string
  readonly tokens: { readonly read?: Redacted.Redacted | undefined; readonly admin?: Redacted.Redacted | undefined }
  readonly authorize: Door.Authorize | undefined
  readonly hosts: ReadonlyArray<string>
  readonly maxViewers: number
  readonly thresholds: Thresholds
}

const encoder = new TextEncoder()

/** One event, of one line of data: JSON has no line breaks. */
const render =
  ({ fleet }: Source, thresholds: Thresholds) =>
  (rights: Rights): Effect.Effect<Uint8Array> =>
    Effect.zipWith(fleet, Clock.currentTimeMillis, ({ reports: all, silent }, at) => {
      const reports = includes(rights, "texts") ? all : all.map(Texts.without)
      const verdict = Verdict.of(reports, { thresholds, silent })
      return encoder.encode(`data: ${JSON.stringify({ at, verdict, silent, reports })}\n\n`)
    })

export interface Running {
  readonly app: HttpApp.Default
  /** How many look at it. */
  readonly viewers: Effect.Effect<number>
}

export const make = (settings: Settings, source: Source): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { authorize, hosts, maxViewers, thresholds, title, tokens } = settings
    const feed = yield* Feed.make(render(source, thresholds), maxViewers)
    const app = Routes.make({
      title,
      hosts,
      authorize,
      sessions: yield* Session.make(tokens),
      pages: yield* Assets.load,
      told: { panels: Panels.all, words: Panels.words, thresholds },
      feed,
      report: source.report,
      act: source.act
    })
    return { app, viewers: Effect.sync(feed.viewers) }
  })
