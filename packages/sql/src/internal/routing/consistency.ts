import type { SqlError } from "@effect/sql/SqlError"
import { currentIn, type Timers } from "@sluice/pool/Deadline"
import { type Context, Effect, type Fiber } from "effect"
import type { Driver } from "../../driver/Driver.js"
import type * as Router from "../../Router.js"
import * as SqlReason from "../../SqlReason.js"
import type { Snapshot } from "../../Topology.js"
import { isEligible } from "./choice.js"
import { levelOf } from "./level.js"
import type { Marks } from "./marks.js"
import type { Members } from "./members.js"
import type { Positions } from "./positions.js"
import type { Target } from "./target.js"
import { decode } from "./token.js"

/** The part of a cluster that reads are chosen with. */
export interface Means<Conn> {
  readonly driver: Driver<any, Conn>
  readonly members: Members<Conn>
  readonly marks: Marks<Conn>
  readonly positions: Positions<Conn>
  readonly router: Router.Service
  readonly timers: Timers["Type"]
  /** Milliseconds. */
  readonly maxCatchUp: number
}

/** What a read may be answered by. */
export interface View<Conn> {
  readonly token: string | undefined
  /** Its replicas are those that are not behind. */
  readonly snapshot: Snapshot
  /** Chosen already: a replica that the read has waited for, or the primary. */
  readonly target: Target<Conn> | undefined
}

/** What the read of this fiber may be answered by, unless it is `strong`. Without I/O for one that may see any state. */
export const viewOf = <Conn>(
  means: Means<Conn>,
  fiber: Fiber.RuntimeFiber<any, any>
): View<Conn> | Effect.Effect<View<Conn>, SqlError> => {
  const { marks, members, positions, timers } = means
  const { snapshot } = members
  const context = fiber.currentContext
  const level = levelOf(context)
  if (level === "eventual" || snapshot.replicas.length === 0) return all(snapshot)
  const mark = fiber.getFiberRef(marks.ref)
  const token = typeof level === "object" ? level.token : undefined
  if (token !== undefined)
    return Effect.flatMap(ofToken(means, token), (given) => withMark(means, context, mark, given))
  if (mark === undefined) return all(snapshot)
  const position = positions.ofMark(mark, timers.now() + means.maxCatchUp)
  return typeof position === "string" ? ofPosition(means, context, position) : withMark(means, context, mark, "any")
}

const all = <Conn>(snapshot: Snapshot): View<Conn> => ({ token: undefined, snapshot, target: undefined })

const ofPrimary = <Conn>({ members }: Means<Conn>, token: string | undefined): View<Conn> => ({
  token,
  snapshot: { ...members.snapshot, replicas: [] },
  target: members.primary
})

/** What a token asks for: a position, any state, or the primary, because it cannot be told which replica is not behind. */
type Given = { readonly position: string } | "any" | "primary"

const withMark = <Conn>(
  means: Means<Conn>,
  context: Context.Context<never>,
  mark: Parameters<Positions<Conn>["ofMark"]>[0] | undefined,
  given: Given
): Effect.Effect<View<Conn>, SqlError> => {
  const { driver, maxCatchUp, positions, timers } = means
  if (given === "primary") return Effect.succeed(ofPrimary(means, undefined))
  const found = mark === undefined ? undefined : positions.ofMark(mark, timers.now() + maxCatchUp)
  return Effect.flatMap(Effect.isEffect(found) ? found : Effect.succeed(found), (own) => {
    // The primary does not say how far it is.
    if (mark !== undefined && own === undefined) return Effect.succeed(ofPrimary(means, undefined))
    const wanted = given === "any" ? own : later(driver, given.position, own)
    return wanted === undefined
      ? Effect.succeed(ofPrimary(means, undefined))
      : asEffect(ofPosition(means, context, wanted))
  })
}

const asEffect = <A>(a: A | Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  Effect.isEffect(a) ? a : Effect.succeed(a)

/** The one that has the other. */
const later = (
  driver: Pick<Driver<any, any>, "reached">,
  one: string,
  other: string | undefined
): string | undefined =>
  other === undefined || driver.reached(one, other) === true
    ? one
    : driver.reached(other, one) === true
      ? other
      : undefined

/** The replicas that have reached the position; else one that reaches it soon; else the primary. */
const ofPosition = <Conn>(
  means: Means<Conn>,
  context: Context.Context<never>,
  wanted: string
): View<Conn> | Effect.Effect<View<Conn>> => {
  const { driver, maxCatchUp, members, positions, router, timers } = means
  const { snapshot } = members
  const has = (target: { readonly position: string | undefined }) =>
    target === snapshot.primary || (target.position !== undefined && driver.reached(target.position, wanted) === true)
  const up = snapshot.replicas.filter(isEligible)
  const reached = up.filter(has)
  if (reached.length > 0) return { token: wanted, snapshot: { ...snapshot, replicas: reached }, target: undefined }
  const hopeful = up.filter((replica) => positions.isHopeful(replica as Target<Conn>, wanted))
  if (hopeful.length === 0) return ofPrimary(means, wanted)
  const deadline = currentIn(context)
  const target = router.choose("read", wanted, { ...snapshot, replicas: hopeful }, deadline, context)
  if (target === undefined || !hopeful.includes(target)) return ofPrimary(means, wanted)
  return Effect.map(
    positions.reach(target as Target<Conn>, wanted, Math.min(timers.now() + maxCatchUp, deadline)),
    (hasReached) => {
      if (hasReached)
        return { token: wanted, snapshot: { ...snapshot, replicas: [target] }, target: target as Target<Conn> }
      // Others may have waited for another one with more luck.
      const replicas = up.filter(has)
      return replicas.length === 0
        ? ofPrimary(means, wanted)
        : { token: wanted, snapshot: { ...snapshot, replicas }, target: undefined }
    }
  )
}

/** A token that cannot be one of this database fails. One from before a failover leads to the primary. */
const ofToken = <Conn>(means: Means<Conn>, text: string): Effect.Effect<Given, SqlError> => {
  const { driver, maxCatchUp, members, positions, timers } = means
  const token = decode(text)
  if (token !== undefined && token.database !== driver.name) {
    return Effect.fail(refused(`it is one of ${token.database}. Keep the tokens of each database apart`))
  }
  if (token === undefined || driver.reached(token.position, token.position) !== true) {
    return Effect.fail(
      refused(
        "it is none. Pass what Sql.consistencyToken has given, unchanged, and have Consistency.verify check what came from outside"
      )
    )
  }
  const { history } = members
  if (history !== undefined && token.history !== "" && token.history !== history) {
    return Effect.fail(
      refused(
        `it is of another cluster (${token.history}) than this one (${history}). Keep the tokens of each database apart, and drop those from before a restore`
      )
    )
  }
  const { position } = token
  const isKnown = members.snapshot.replicas.some((one) => {
    const at = one.position
    return at !== undefined && driver.reached(at, position) === true
  })
  if (isKnown || positions.wasReached(position)) return Effect.succeed({ position })
  return Effect.flatMap(positions.ofPrimary(timers.now() + maxCatchUp), (answer) => {
    const has = answer === undefined ? undefined : driver.reached(answer.position, position)
    if (has === true) return Effect.succeed<Given>({ position })
    return has === undefined
      ? Effect.succeed<Given>("primary")
      : Effect.fail(
          refused(
            "the primary has not come so far. It is of another database, or a failover has lost the write. Drop the token, and read without it"
          )
        )
  })
}

const refused = (why: string): SqlError =>
  SqlReason.toError(SqlReason.make("InvalidData"), `the consistency token was refused: ${why}`)
