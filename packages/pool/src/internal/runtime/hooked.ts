/**
 * The verbs of `Pool` as they lend a connection: directly, or between the hooks of the program.
 */
import { Effect, type Fiber, Scope } from "effect"
import { here, type Origin } from "../../Origin.js"
import type { AcquireError, HookFailed } from "../../PoolError.js"
import type { AcquireOptions, Register } from "../../PoolOptions.js"
import type { Engine } from "../engine.js"
import type { Lease } from "../entry.js"
import type { Hooks, Visit } from "./hooks.js"
import * as lending from "./lend.js"

/** A pool as its verbs need it. */
export interface Lender<A> {
  readonly engine: Engine<A>
  /** `undefined` when no hook is around a lease: then nothing in this file costs anything. */
  readonly hooks: Hooks<A> | undefined
}

/** Where the program calls the verb, if the pool wants to know: `of` is the function that the verb of `Pool` has called. */
const originOf = <A>({ engine }: Lender<A>, of: Function): Origin | undefined => {
  if (!engine.config.leakStack) return undefined
  const lines = here(of)
  // The first line is the verb.
  return () => lines().split("\n").slice(1).join("\n")
}

/** What one lease needs of its hooks. */
interface Around<A> {
  readonly hooks: Hooks<A>
  readonly visit: Visit
  /** With what is left of the acquire timeout. */
  readonly options: AcquireOptions | undefined
  /** When the acquire itself began. */
  readonly began: number
  readonly now: () => number
}

/** `hooked` between the hooks. A fiber that runs a hook of this pool already is served by `plain`. */
const around = <A, B, E, R>(
  { engine }: Lender<A>,
  hooks: Hooks<A>,
  options: AcquireOptions | undefined,
  plain: () => Effect.Effect<B, E, R>,
  hooked: (lease: Around<A>) => Effect.Effect<B, E, R>
): Effect.Effect<B, E | HookFailed, R> =>
  Effect.withFiberRuntime((running) => {
    const fiber = running as Fiber.RuntimeFiber<any, any>
    if (hooks.runs(fiber)) return plain()
    const visit = hooks.visitOf(fiber)
    const { now } = engine.host
    return Effect.flatMap(hooks.before(fiber, visit, options), (options) =>
      hooked({ hooks, visit, options, began: now(), now })
    )
  })

/** `use` and `share`. */
export const lend = <A, B, E, R>(
  self: Lender<A>,
  f: (resource: A) => Effect.Effect<B, E, R>,
  shared: boolean,
  options: AcquireOptions | undefined
): Effect.Effect<B, E | AcquireError, R> => {
  const { engine, hooks } = self
  const origin = originOf(self, lend)
  if (hooks === undefined) return lending.lend(engine, f, shared, options, origin)
  return around(
    self,
    hooks,
    options,
    () => lending.lend(engine, f, shared, options, origin),
    ({ began, hooks, now, options, visit }) => {
      let since = began
      const work = (resource: A) => {
        since = now()
        return Effect.zipRight(
          hooks.after(visit, since - began),
          Effect.suspend(() => f(resource))
        )
      }
      // After the lease has ended: the connection may have its next user.
      const after = Effect.sync(() => hooks.released(visit, now() - since))
      return Effect.ensuring(lending.lend(engine, work, shared, options, origin), after)
    }
  )
}

/** An exclusive lease until the scope of the caller closes. */
export const acquire = <A>(
  self: Lender<A>,
  options: AcquireOptions | undefined
): Effect.Effect<A, AcquireError, Scope.Scope> => {
  const { engine, hooks } = self
  const origin = originOf(self, acquire)
  if (hooks === undefined) return lending.acquire(engine, options, origin)
  return around(
    self,
    hooks,
    options,
    () => lending.acquire(engine, options, origin),
    (around) =>
      Effect.flatMap(Effect.scope, (scope) =>
        until(engine, around, origin, (lease, release) =>
          Effect.as(Scope.addFinalizer(scope, Effect.sync(release)), lease.entry.resource)
        )
      )
  )
}

/** An exclusive lease until `release` is called. */
export const hold = <A, B>(
  self: Lender<A>,
  keep: (resource: A, release: () => void) => B,
  options: AcquireOptions | undefined
): Effect.Effect<B, AcquireError> => {
  const { engine, hooks } = self
  const origin = originOf(self, hold)
  const plain = () =>
    lending.hold(
      engine,
      (lease) => Effect.succeed(keep(lease.entry.resource, () => engine.release(lease))),
      options,
      origin
    )
  if (hooks === undefined) return plain()
  return around(self, hooks, options, plain, (around) =>
    until(engine, around, origin, (lease, release) => Effect.succeed(keep(lease.entry.resource, release)))
  )
}

/** `afterAcquire` comes when `keep` has got the lease, so that an interrupt of the hook finds it in the hands of its owner. */
const until = <A, B>(
  engine: Engine<A>,
  { began, hooks, now, options, visit }: Around<A>,
  origin: Origin | undefined,
  keep: (lease: Lease<A>, release: () => void) => Effect.Effect<B>
): Effect.Effect<B, AcquireError> => {
  let isBack = false
  let since = began
  const kept = lending.hold(
    engine,
    (lease) => {
      since = lease.since
      return keep(lease, () => {
        engine.release(lease)
        if (!isBack) hooks.released(visit, now() - since)
        isBack = true
      })
    },
    options,
    origin
  )
  return Effect.tap(kept, () => (isBack ? Effect.void : hooks.after(visit, since - began)))
}

/** A shared lease that ends when the work calls back. */
export const lendAsync = <A, B, E>(
  self: Lender<A>,
  register: Register<A, B, E>,
  options: AcquireOptions | undefined
): Effect.Effect<B, E | AcquireError> => {
  const { engine, hooks } = self
  if (hooks === undefined) return lending.lendAsync(engine, register, options)
  return around(
    self,
    hooks,
    options,
    () => lending.lendAsync(engine, register, options),
    ({ began, hooks, now, options, visit }) => {
      let leave: (() => void) | undefined
      let hasLeft = false
      const between: Register<A, B, E> = (resource, resume, answer) => {
        const since = now()
        let isOver = false
        const end = (effect: Effect.Effect<B, E>): void => {
          if (isOver) return
          isOver = true
          resume(effect)
          hooks.released(visit, now() - since)
        }
        leave = hooks.startAfter(visit, since - began, () => {
          // A caller that has left meanwhile wants no work to begin.
          if (hasLeft) return end(Effect.interrupt)
          try {
            register(resource, end, answer)
          } catch (defect) {
            end(Effect.die(defect))
          }
        })
      }
      return Effect.onInterrupt(lending.lendAsync(engine, between, options), () =>
        Effect.sync(() => {
          hasLeft = true
          leave?.()
        })
      )
    }
  )
}
