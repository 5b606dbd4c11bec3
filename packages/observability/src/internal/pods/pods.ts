/**
 * Asks processes for their reports, while somebody wants them.
 *
 * 1. To each process there is one question at a time: one that is slow is asked less often, and keeps nobody else waiting.
 * 2. Every question ends by its bound.
 * 3. Nobody is asked when the reports were not wanted for a while.
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Deadline from "@sluice/pool/Deadline"
import { Effect, Fiber, FiberSet, type Redacted, type Scope } from "effect"
import type { Report } from "../../Report.js"
import { expand, type Lookup } from "./addresses.js"
import { ask } from "./asking.js"

/** Milliseconds for which the reports need not be wanted before nobody is asked any more. */
const REST = 10_000

/** Milliseconds between two looks at which processes a name stands for. */
const LOOK = 10_000

/** Processes at most. */
const MOST = 1_000

export interface Settings {
  readonly urls: ReadonlyArray<URL>
  readonly token: Redacted.Redacted | undefined
  readonly every: number
  readonly timeout: number
}

export interface Pod {
  readonly url: string
  readonly report: Report | undefined
  readonly ageMs: number
  readonly error: string | undefined
}

interface Target {
  readonly url: URL
  report: Report | undefined
  answeredAt: number
  error: string | undefined
  fiber: Fiber.RuntimeFiber<unknown> | undefined
}

export const make = (
  { every, timeout, token, urls }: Settings,
  client: HttpClient.HttpClient,
  lookup: Lookup
): Effect.Effect<() => ReadonlyArray<Pod>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { now } = yield* Deadline.ofContext
    const fibers = yield* FiberSet.make<unknown>()
    let targets = new Map<string, Target>()
    let wantedAt = now()

    const isWanted = (): boolean => now() - wantedAt <= REST

    /** Waits for `ms`, and then until somebody wants the reports. */
    const rest = (ms: number): Effect.Effect<void> =>
      Effect.zipRight(
        Effect.sleep(ms),
        Effect.suspend(() => (isWanted() ? Effect.void : rest(every)))
      )

    const once = (target: Target) =>
      Effect.map(Effect.either(ask(client, target.url, token, timeout)), (answer) => {
        if (answer._tag === "Left") target.error = answer.left.message
        else {
          target.report = answer.right
          target.answeredAt = now()
          target.error = undefined
        }
      })

    /** In the same distance as before, however long the answer took. */
    const forever = (target: Target) =>
      Effect.forever(
        Effect.suspend(() => {
          const next = now() + every
          return Effect.zipRight(
            once(target),
            Effect.suspend(() => rest(Math.max(0, Math.ceil(next - now()))))
          )
        })
      )

    const look = Effect.gen(function* () {
      const found = yield* Effect.forEach(urls, (url) => expand(url, lookup), { concurrency: 20 })
      const wanted = new Map(
        found
          .flat()
          .slice(0, MOST)
          .map((url) => [url.href, url])
      )
      const kept = new Map<string, Target>()
      for (const [href, url] of wanted) {
        kept.set(
          href,
          targets.get(href) ?? { url, report: undefined, answeredAt: now(), error: undefined, fiber: undefined }
        )
      }
      const gone = [...targets].filter(([href]) => !kept.has(href)).map(([, target]) => target)
      targets = kept
      for (const target of kept.values()) target.fiber ??= yield* FiberSet.run(fibers, forever(target))
      for (const { fiber } of gone) if (fiber !== undefined) yield* Fiber.interruptFork(fiber)
    })

    yield* FiberSet.run(fibers, Effect.forever(Effect.zipRight(Effect.exit(look), rest(LOOK))))

    return () => {
      const at = now()
      wantedAt = at
      return [...targets.values()].map(({ answeredAt, error, report, url }) => ({
        url: url.href,
        report,
        ageMs: report === undefined ? 0 : Math.round(at - answeredAt),
        error
      }))
    }
  })
