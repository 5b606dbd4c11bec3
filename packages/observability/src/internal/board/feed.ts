/**
 * What all viewers of a board read, once a second: one rendering for all viewers of equal rights.
 *
 * A viewer asks for the next rendering when it has taken the last one, so nothing is queued for it: one that reads slowly misses
 * renderings, and one that does not read at all is dropped after `PATIENCE`. While nobody looks, nothing is rendered.
 */
import { Clock, Deferred, Effect, Option, Schedule, type Scope, Stream } from "effect"
import type { Rights } from "./rights.js"

/** Milliseconds. */
const INTERVAL = 1_000

/** Milliseconds after which a viewer that has not taken the last rendering is dropped. Longer than a telephone in a tunnel needs. */
const PATIENCE = 30_000

interface Frame {
  readonly number: number
  readonly at: number
  readonly bytes: Uint8Array
}

interface Viewer {
  readonly rights: Rights
  readonly drop: Effect.Effect<void>
  /** Since when the viewer has what it was given last; `undefined` while it waits for the next. */
  takenAt: number | undefined
}

export interface Feed {
  /**
   * What this viewer reads, until the scope closes; `undefined` if there are too many viewers. `drop` must end the connection to the viewer at
   * once, whether it reads or not.
   */
  readonly open: (
    rights: Rights,
    drop: Effect.Effect<void>
  ) => Effect.Effect<Stream.Stream<Uint8Array> | undefined, never, Scope.Scope>
  readonly viewers: () => number
}

/** A feed of what `render` makes. When the scope closes, all viewers are told that this is the end. */
export const make = (
  render: (rights: Rights) => Effect.Effect<Uint8Array>,
  maxViewers: number
): Effect.Effect<Feed, never, Scope.Scope> =>
  Effect.gen(function* () {
    const viewers = new Set<Viewer>()
    const frames = new Map<Rights, Frame>()
    const one = yield* Effect.makeSemaphore(1)
    const somebody = yield* Effect.makeLatch(false)
    let number = 0
    let isEnded = false
    let next = Deferred.unsafeMake<void>(yield* Effect.fiberId)

    const wakeAll = Effect.flatMap(Effect.fiberId, (id) =>
      Effect.suspend(() => {
        const waited = next
        next = Deferred.unsafeMake<void>(id)
        return Deferred.succeed(waited, undefined)
      })
    )

    const now = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos / 1_000_000n))

    const renderFor = (rights: Rights) =>
      Effect.flatMap(render(rights), (bytes) =>
        Effect.map(now, (at) => void frames.set(rights, { number: ++number, at, bytes }))
      )

    /** A viewer that arrives sees something at once. A thousand that arrive together are one rendering. */
    const fresh = (rights: Rights) =>
      Effect.flatMap(now, (at) => {
        const frame = frames.get(rights)
        return frame !== undefined && at - frame.at < INTERVAL / 2 ? Effect.void : renderFor(rights)
      })

    const tick = Effect.gen(function* () {
      const at = yield* now
      for (const viewer of viewers) {
        if (viewer.takenAt !== undefined && at - viewer.takenAt > PATIENCE) yield* viewer.drop
      }
      const wanted = new Set([...viewers].map(({ rights }) => rights))
      for (const rights of frames.keys()) if (!wanted.has(rights)) frames.delete(rights)
      yield* Effect.forEach(wanted, fresh, { discard: true }).pipe(one.withPermits(1))
      if (wanted.size > 0) yield* wakeAll
    })

    yield* Effect.zipRight(somebody.await, tick).pipe(
      Effect.catchAllCause((cause) => Effect.logError("the board could not be drawn", cause)),
      Effect.repeat(Schedule.fixed(INTERVAL)),
      Effect.forkScoped
    )
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        isEnded = true
        return wakeAll
      })
    )

    const read = (viewer: Viewer): Stream.Stream<Uint8Array> =>
      Stream.unfoldEffect(0, (seen) => {
        const take: Effect.Effect<Option.Option<readonly [Uint8Array, number]>> = Effect.suspend(() => {
          if (isEnded) return Effect.succeedNone
          const frame = frames.get(viewer.rights)
          if (frame === undefined || frame.number <= seen) {
            viewer.takenAt = undefined
            return Effect.zipRight(Deferred.await(next), take)
          }
          return Effect.map(now, (at) => {
            viewer.takenAt = at
            return Option.some([frame.bytes, frame.number] as const)
          })
        })
        return take
      })

    return {
      open: (rights, drop) =>
        Effect.suspend(() => {
          if (viewers.size >= maxViewers || isEnded) return Effect.succeed(undefined)
          const viewer: Viewer = { rights, drop, takenAt: undefined }
          return Effect.acquireRelease(
            Effect.suspend(() => {
              viewers.add(viewer)
              return somebody.open
            }),
            () =>
              Effect.suspend(() => {
                viewers.delete(viewer)
                return viewers.size === 0 ? somebody.close : Effect.void
              })
          ).pipe(Effect.zipRight(one.withPermits(1)(fresh(rights))), Effect.as(read(viewer)))
        }),
      viewers: () => viewers.size
    }
  })
