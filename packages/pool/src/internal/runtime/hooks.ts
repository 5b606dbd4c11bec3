/**
 * Runs the hooks of a program: each bounded, and none inside of a transition of the engine. What each outcome leads to stands in
 * `PoolHooks`.
 */

import { Cause, Context, Effect, Exit, type Fiber, Runtime, RuntimeFlags } from "effect"
import * as AsyncContext from "../../AsyncContext.js"
import * as Deadline from "../../Deadline.js"
import type { HookFailed } from "../../PoolError.js"
import type { PoolHooks } from "../../PoolHooks.js"
import { type AcquireOptions, CurrentAcquireTimeout } from "../../PoolOptions.js"
import { text } from "../diagnosis.js"
import type { Engine } from "../engine.js"
import type { Entry } from "../entry.js"
import type { Bounded } from "./bounded.js"
import { millisOf } from "./lend.js"

type Hook = keyof PoolHooks<never>

/** Milliseconds that a hook may take which no timeout of the pool is meant for. */
const BOUND = 1_000

/** What hooks need of their pool. */
export interface Means<A> {
  readonly engine: () => Engine<A>
  /** With the services of the fiber that made the pool. */
  readonly runtime: Runtime.Runtime<any>
  readonly bounded: Bounded
  readonly now: () => number
  readonly refuse: (cause: unknown, waited: number) => HookFailed
}

/** One lease between its hooks. */
export interface Visit {
  /** What the hooks run in: the services of the pool, and over them everything of the caller. */
  readonly runtime: Runtime.Runtime<any>
  /** `afterAcquire` has begun, so that `afterRelease` has to follow. Only `Hooks` changes it. */
  isTold: boolean
}

let pools = 0

export class Hooks<A> {
  /** In the context of each hook, so that leases inside of it have no hooks: they would never end. */
  private readonly mark = Context.GenericTag<Hooks<A>>(`@sluice/pool/Hooks/${++pools}`)
  /** The runtime of hooks that no caller waits for. */
  private readonly runtime: Runtime.Runtime<any>
  /** The hooks of which a failure was logged. */
  private readonly told = new Set<Hook>()

  constructor(
    private readonly hooks: PoolHooks<A, unknown, any>,
    private readonly means: Means<A>
  ) {
    this.runtime = Runtime.provideService(means.runtime, this.mark, this)
  }

  /** There is a hook around leases. */
  get areAround(): boolean {
    const { afterAcquire, afterRelease, beforeAcquire } = this.hooks
    return beforeAcquire !== undefined || afterAcquire !== undefined || afterRelease !== undefined
  }

  get closes(): boolean {
    return this.hooks.beforeClose !== undefined
  }

  /** `onConnect`. Its bound is the one of the connect, or of the reset. */
  prepare<E>(resource: A): Effect.Effect<unknown, E, any> {
    const { onConnect } = this.hooks
    if (onConnect === undefined) return Effect.void
    const effect = effectOf("onConnect", () => onConnect(resource)) as Effect.Effect<unknown, E, any>
    return Effect.provideService(effect, this.mark, this)
  }

  /** `beforeClose`, and then the rest of the close. */
  close({ closeReason, resource }: Entry<A>, then: () => void): void {
    const effect = effectOf("beforeClose", () => this.hooks.beforeClose!(closeReason!, resource))
    this.means.bounded.run(this.runtime, effect, BOUND, (exit) => {
      this.tell("beforeClose", exit)
      then()
    })
  }

  /** Whether the fiber runs a hook of this pool. */
  runs(fiber: Fiber.RuntimeFiber<any, any>): boolean {
    return fiber.currentContext.unsafeMap.has(this.mark.key)
  }

  visitOf(fiber: Fiber.RuntimeFiber<any, any>): Visit {
    const context = Context.merge(this.runtime.context, fiber.currentContext)
    const runtime = Runtime.make({ context, fiberRefs: fiber.getFiberRefs(), runtimeFlags: interruptible })
    return { runtime, isTold: false }
  }

  /** `beforeAcquire`. Gives the options with what is left of the acquire timeout. */
  before(
    fiber: Fiber.RuntimeFiber<any, any>,
    { runtime }: Visit,
    options: AcquireOptions | undefined
  ): Effect.Effect<AcquireOptions | undefined, HookFailed> {
    const { beforeAcquire } = this.hooks
    if (beforeAcquire === undefined) return Effect.succeed(options)
    const { bounded, engine, now, refuse } = this.means
    return Effect.suspend(() => {
      const context = fiber.currentContext
      const began = now()
      const asked = options?.acquireTimeout ?? Context.get(context, CurrentAcquireTimeout)
      const allowed = asked === undefined ? engine().config.acquireTimeout : millisOf(asked)
      const rest = Math.max(0, Deadline.currentIn(context) - began)
      // An acquire that waits for nothing still asks its hook. What makes no sense is refused by the acquire itself.
      const bound = Math.min(BOUND, allowed > 0 ? allowed : BOUND, rest >= 0 ? rest : BOUND)
      const goOn = (exit: Exit.Exit<unknown, unknown> | undefined) => {
        const spent = now() - began
        if (!hasSucceeded(exit) && !this.isOver(exit)) {
          return Effect.fail(refuse(exit === undefined ? tooSlow("beforeAcquire", bound) : reasonOf(exit), spent))
        }
        if (!(allowed > 0) || allowed === Infinity || spent < 1) return Effect.succeed(options)
        return Effect.succeed({ ...options, acquireTimeout: Math.max(1, allowed - spent) })
      }
      return AsyncContext.async((resume) => {
        let hasLeft = false
        const stop = bounded.run(runtime, effectOf("beforeAcquire", beforeAcquire), bound, (exit) => {
          if (!hasLeft) resume(goOn(exit))
        })
        return Effect.sync(() => {
          hasLeft = true
          stop()
        })
      })
    })
  }

  /** `afterAcquire`, for a caller that waits for it. */
  after(visit: Visit, elapsed: number): Effect.Effect<void> {
    // A fiber may be interrupted before it comes to the hook.
    return AsyncContext.async((resume) => {
      const leave = this.startAfter(visit, elapsed, () => resume(Effect.void))
      return Effect.sync(leave)
    })
  }

  /**
   * The same, for a lease without a fiber. What is returned calls `then` at once. The hook is not stopped by that, because what it
   * counts would not be counted then, and `afterRelease` follows.
   */
  startAfter(visit: Visit, elapsed: number, then: () => void): () => void {
    visit.isTold = true
    let isOver = false
    const end = (): void => {
      if (isOver) return
      isOver = true
      then()
    }
    const { afterAcquire } = this.hooks
    if (afterAcquire === undefined) end()
    else {
      const effect = effectOf("afterAcquire", () => afterAcquire(elapsed))
      this.means.bounded.run(visit.runtime, effect, BOUND, (exit) => {
        this.tell("afterAcquire", exit)
        end()
      })
    }
    return end
  }

  /** `afterRelease`, once. */
  released({ runtime, isTold }: Visit, held: number): void {
    const { afterRelease } = this.hooks
    if (afterRelease === undefined || !isTold) return
    const effect = effectOf("afterRelease", () => afterRelease(held))
    this.means.bounded.run(runtime, effect, BOUND, (exit) => this.tell("afterRelease", exit))
  }

  /** The pool has closed meanwhile, and has stopped the hook. */
  private isOver(exit: Exit.Exit<unknown, unknown> | undefined): boolean {
    return exit === undefined && this.means.engine().state.phase === "closed"
  }

  /** Logs a failure that reaches nobody, once for each hook. */
  private tell(hook: Hook, exit: Exit.Exit<unknown, unknown> | undefined): void {
    if (hasSucceeded(exit) || this.isOver(exit) || this.told.has(hook)) return
    this.told.add(hook)
    const { name } = this.means.engine().config
    const why =
      exit === undefined ? `had not ended after ${BOUND} ms, and was stopped` : `has failed: ${text(reasonOf(exit))}`
    const message = `pool "${name}": the hook ${hook} ${why}. No caller sees its failures, and this is logged once for this hook`
    this.means.bounded.run(this.runtime, Effect.logWarning(message), BOUND, () => {})
  }
}

const interruptible = RuntimeFlags.make(RuntimeFlags.Interruption, RuntimeFlags.CooperativeYielding)

const hasSucceeded = (exit: Exit.Exit<unknown, unknown> | undefined): boolean =>
  exit !== undefined && Exit.isSuccess(exit)

const reasonOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined

const tooSlow = (hook: Hook, bound: number): Cause.TimeoutException =>
  new Cause.TimeoutException(`the hook ${hook} had not ended after ${Math.round(bound)} ms`)

/** A hook that throws, or gives no effect, fails like one whose effect does. */
const effectOf = (hook: Hook, run: () => Effect.Effect<unknown, unknown, any>): Effect.Effect<unknown, unknown, any> =>
  Effect.suspend(() => {
    const effect: unknown = run()
    return Effect.isEffect(effect)
      ? (effect as Effect.Effect<unknown>)
      : Effect.dieMessage(
          `the hook ${hook} must give an effect, but it gave ${typeof effect}: write \`() => Effect.…\``
        )
  })
