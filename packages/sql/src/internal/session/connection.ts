import type { SqlError } from "@effect/sql/SqlError"
import type { Instant } from "@sluice/pool/Deadline"
import { Effect } from "effect"
import type { ConnectionState } from "../../driver/Driver.js"
import { invalidUse } from "../client/errors.js"
import type { Intent } from "../routing/intent.js"
import * as Route from "../routing/route.js"
import * as Bounded from "./bounded.js"
import { deadlineWhileWaiting, isReclaimed, lostInside } from "./failures.js"
import { type Block, giveBack, type Pin } from "./pin.js"

/** Leases a connection. It is in the pin before anything can interrupt, so that closing the pin gives it back. */
const take = <Conn>(pin: Pin<Conn>, intent: Intent | undefined): Effect.Effect<Conn, SqlError> => {
  if (pin.lost !== undefined) return Effect.fail(pin.lost())
  return Route.hold(
    pin.cluster,
    intent,
    (connection, release) => {
      pin.lease = { connection, intent, epoch: pin.cluster.members.epoch, release }
      return connection
    },
    pin.options
  )
}

/** The pin's connection if it can be used as it is. To be called by the holder of the lock only. */
export const usable = <Conn>({ pin, transaction }: Block<Conn>, asked: Intent | undefined): Conn | undefined => {
  const { pendingCleanup, lease } = pin
  if (lease === undefined || pendingCleanup.length > 0) return undefined
  if (isFenced(pin) && (transaction === undefined || pin.opening?.isDone === false)) return undefined
  if (asked === "write" && (transaction === undefined ? lease.intent === "read" : transaction.readOnly === true)) {
    return undefined
  }
  const state = pin.cluster.driver.status(lease.connection)
  return state === "busy" || state === "dead" ? undefined : lease.connection
}

/** The lease is older than the last change of the roles, and its connection would carry writes: they go elsewhere now. */
const isFenced = <Conn>({ cluster, lease }: Pin<Conn>): boolean =>
  lease !== undefined && lease.epoch < cluster.members.epoch && lease.intent !== "read"

const nothing: ReadonlyArray<string> = []

/** The statements that must go to the server before the next one, because they open the transaction (5). */
export const unsentOpening = <Conn>({ cluster, opening }: Pin<Conn>, connection: Conn): ReadonlyArray<string> => {
  if (opening === undefined || opening.isDone) return nothing
  // They may have been sent with a statement whose end nobody awaited.
  opening.isDone = isInTransaction(cluster.driver.status(connection))
  return opening.isDone ? nothing : opening.statements
}

export const isInTransaction = (state: ConnectionState): boolean => state === "transaction" || state === "failed"

/** Nothing of the transaction on this pin has reached the server, or nothing that is left. */
export const isUnopened = <Conn>(pin: Pin<Conn>): boolean =>
  pin.opening !== undefined &&
  (pin.lease === undefined ? !pin.opening.isDone : unsentOpening(pin, pin.lease.connection).length > 0)

/** Executing on a dead connection fails at once, with the error that ended it. */
export const whyDead = <Conn>({ cluster }: Pin<Conn>, connection: Conn): Effect.Effect<SqlError> =>
  Effect.orDieWith(
    Effect.flip(cluster.driver.execute(connection, "", [], "command")),
    () => new Error("a dead connection has executed a statement")
  )

/** The pin's connection, ready for a statement, by `until`. To be called by the holder of the lock only. */
export const connect = <Conn>(
  block: Block<Conn>,
  asked: Intent | undefined,
  until: Instant
): Effect.Effect<Conn, SqlError> =>
  Effect.suspend(() => {
    const { pin } = block
    const inside = block.transaction
    if (inside?.readOnly === true && asked === "write") {
      return Effect.fail(
        invalidUse(
          "a write was announced (Sql.write) inside a read-only transaction: open it without readOnly, outside of Sql.read"
        )
      )
    }
    const wanted = asked === "write" ? asked : pin.intent
    const lease = pin.lease
    const unopened = pin.opening?.isDone === false
    if (lease === undefined) {
      return inside === undefined || unopened ? take(pin, wanted) : Effect.fail(lostInside("a transaction"))
    }
    const { driver } = pin.cluster
    const state = driver.status(lease.connection)
    const { hasSession } = pin
    const why = state === "dead" ? whyDead(pin, lease.connection) : Effect.succeed(undefined)
    const another = Effect.flatMap(why, (by) => {
      const failLost = (what: string) => Effect.fail(pin.lost?.(by) ?? (isReclaimed(by) ? by : lostInside(what, by)))
      if (inside !== undefined && !unopened) return failLost("a transaction")
      giveBack(pin)
      return hasSession || isReclaimed(by)
        ? failLost("a pinned connection whose session had been changed")
        : take(pin, wanted)
    })
    const isLeft = isFenced(pin) && (inside === undefined || unopened)
    if (isLeft) pin.cluster.totals.fences++
    if (state === "dead" || isLeft) return another
    if (inside === undefined && wanted !== "read" && lease.intent === "read") {
      giveBack(pin)
      return take(pin, wanted)
    }
    if (state !== "busy" && pin.pendingCleanup.length === 0) return Effect.succeed(lease.connection)
    return Effect.flatMap(cleanUp(pin, until), (result) => {
      if (result === "ready") return Effect.succeed(lease.connection)
      return result === "late" ? Effect.fail(deadlineWhileWaiting()) : another
    })
  })

/** Nothing is left to be done on the connection before its next statement. */
export const isReady = <Conn>({ pin }: Block<Conn>): boolean =>
  pin.pendingCleanup.length === 0 &&
  (pin.lease === undefined || pin.cluster.driver.status(pin.lease.connection) !== "busy")

/**
 * Aborts what an earlier user has left running and does what that user could not wait for (2).
 *
 * - `ready`: the connection can be used.
 * - `late`: `until` has passed. The next user goes on with what is left.
 * - `gone`: the pin has no connection any more. It was lost, or could not be made ready within the abort timeout.
 */
export const cleanUp = <Conn>(pin: Pin<Conn>, until: Instant): Effect.Effect<"ready" | "late" | "gone"> =>
  Effect.suspend(() => {
    const connection = pin.lease?.connection
    if (connection === undefined) return Effect.succeed("gone")
    const { abortTimeout, driver, timers } = pin.cluster
    const isUsable = () => {
      const state = driver.status(connection)
      return state !== "busy" && state !== "dead"
    }
    if (isUsable() && pin.pendingCleanup.length === 0) return Effect.succeed("ready")
    const work = Effect.gen(function* () {
      if (driver.status(connection) === "busy") yield* Effect.ignore(driver.abort(connection))
      while (pin.pendingCleanup.length > 0 && driver.status(connection) !== "dead") {
        yield* Effect.ignore(pin.pendingCleanup[0]!(connection))
        pin.pendingCleanup.shift()
      }
      return isUsable() ? ("ready" as const) : ("gone" as const)
    })
    const longest = timers.now() + abortTimeout
    const otherwise = Effect.succeed(until < longest ? ("late" as const) : ("gone" as const))
    return Effect.tap(Bounded.abandonAt(timers, Math.min(until, longest), work, otherwise), (result) =>
      Effect.sync(() => {
        if (result === "gone") retire(pin, connection)
      })
    )
  })

/** The connection cannot be made ready: the pool gets it back as it is, and cleans or closes it. */
const retire = <Conn>(pin: Pin<Conn>, connection: Conn): void => {
  if (pin.lease?.connection !== connection) return
  pin.cluster.leftOpen.excuse(connection)
  giveBack(pin)
}
