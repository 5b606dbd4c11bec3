/**
 * Which endpoint a statement goes to.
 *
 * A router only chooses. Everything around the choice belongs to `Sql`, whichever router is used: which replicas are too far behind, what
 * becomes of a read that gets no connection to its replica in half of its time, and how many reads the primary takes in place of
 * its replicas. Pins keep their connection, and statements inside of a transaction never move.
 *
 * @since 0.2.0
 */
import type { Instant } from "@sluice/pool/Deadline"
import { Context, Layer } from "effect"
import * as Choice from "./internal/routing/choice.js"
import type { Intent } from "./internal/routing/intent.js"
import type { ReadOptions } from "./internal/routing/rules.js"
import * as Rules from "./internal/routing/rules.js"
import type { Snapshot, Target } from "./Topology.js"

export type {
  /**
   * What a statement does, as far as its caller has said so with `Sql.read` or `Sql.write`.
   *
   * @since 0.2.0
   * @category models
   */
  Intent
} from "./internal/routing/intent.js"
export type { ReadOptions, Rules } from "./internal/routing/rules.js"

export type {
  /**
   * Where the roles of the servers come from: `given` by the configuration, as `primary` and `replicas`; or `found` by asking
   * the servers, because the configuration has only said which servers there are.
   *
   * @since 0.2.0
   * @category models
   */
  Roles,
  /**
   * Which server takes the statements that are not marked with `Sql.read`: the words of libpq's `target_session_attrs`.
   *
   * @since 0.2.0
   * @category models
   */
  TargetWord
} from "./internal/routing/words.js"

/**
 * What a router can do.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service {
  /**
   * The target of one statement, pin or transaction. `undefined` stands for the primary. For a read it says also that no replica can
   * be read from: the primary stands in, within `primaryReadShare`, or the read fails with `NoReplica`, as `rules` say. Where
   * `snapshot.primary` is chosen for a read, no rule limits that.
   *
   * - Called once for each acquire, on the path of every statement: at most 2 microseconds, no I/O. It must not throw: an
   *   exception is a defect of the statement. When the target gives a read no connection it is called again, and that target is not in
   *   the snapshot then.
   * - `intent`: `write` where the program said nothing.
   * - `token`: the position that the read must not be behind; `undefined`: it may see any state. The replicas of the snapshot are
   *   those that have it; when none has it, those that are expected to have it within `maxCatchUp`, and the read waits for the chosen one.
   *   A replica that is not among them is not used: the read goes to the primary instead.
   * - `snapshot`: the targets there are. Any other result fails the statement with `InvalidUse`.
   * - `deadline`: the instant after which nobody awaits the answer; `Infinity` when none was declared.
   * - `context`: the services and references of the fiber that asks, such as a reference of yours that names the tenant.
   */
  readonly choose: (
    intent: Intent,
    token: string | undefined,
    snapshot: Snapshot,
    deadline: Instant,
    context: Context.Context<never>
  ) => Target | undefined
  /**
   * What holds for the reads around the choice. A router that calls another one takes over its rules with `{ ...other, choose }`.
   * Default: those of `leastBusy()`.
   */
  readonly rules?: Rules.Rules | undefined
}

/**
 * The tag. The Layer of a driver takes the router that the program provides to it, else `leastBusy()`, and provides the one
 * that it uses.
 *
 * **When to use:** to send the reads of one tenant, one zone or one job to a replica of its own.
 *
 * @example
 * ```ts
 * import { Router } from "@sluice/sql"
 * import { PgSql } from "@sluice/sql-pg"
 * import { Context, Layer, Redacted } from "effect"
 *
 * class CurrentTenant extends Context.Reference<CurrentTenant>()("CurrentTenant", { defaultValue: () => 0 }) {}
 *
 * const others = Router.leastBusy()
 *
 * const ByTenant = Router.layer({
 *   ...others,
 *   choose: (intent, token, snapshot, deadline, context) => {
 *     const own = snapshot.replicas[Context.get(context, CurrentTenant) % snapshot.replicas.length]
 *     return intent === "read" && own?.isUp && !own.isLagging ? own : others.choose(intent, token, snapshot, deadline, context)
 *   }
 * })
 *
 * const SqlLive = PgSql.layer({
 *   primary: { url: Redacted.make("postgres://app@db-1/pay") },
 *   replicas: [{ url: Redacted.make("postgres://app@db-2/pay") }, { url: Redacted.make("postgres://app@db-3/pay") }]
 * }).pipe(Layer.provide(ByTenant))
 * ```
 *
 * @see `Topology` for what there is to choose from.
 * @since 0.2.0
 * @category tags
 */
export class Router extends Context.Tag("@sluice/sql/Router")<Router, Service>() {}

const make = (pick: Choice.Pick, options: ReadOptions): Service => {
  const rules = Rules.decode(options)
  const { target } = rules
  let last: Snapshot | undefined
  let all: ReadonlyArray<Target> = []
  const everywhere = (snapshot: Snapshot) => {
    if (snapshot !== last) {
      last = snapshot
      // The primary may be among its replicas.
      all = Array.from(new Set([snapshot.primary, ...snapshot.replicas]))
    }
    return all
  }
  const isPrimary = target === "primary" || target === "read-write"
  return Rules.own<Service>({
    rules,
    // An own property, so that a program may take `choose` out of its router.
    choose: (intent, _token, snapshot) => {
      if (isPrimary || intent === "write") return snapshot.primary
      const candidates = target === "any" ? everywhere(snapshot) : snapshot.replicas
      return candidates.length === 0 ? undefined : pick(candidates)
    }
  })
}

/**
 * Reads go to the less busy one of two replicas that are taken by chance: the one for which `(busy + waiting + 1) × latency` is smaller.
 * Latencies count where one is twice the other. Writes go to the primary. This is the router of every `Sql` that is given no other.
 *
 * **Details**
 *
 * The power of two choices: it spreads as well as a look at all replicas, and processes that know nothing of each other do not send
 * all of their reads to the same one. A replica that becomes slow gets less within a second.
 *
 * Throws a `SqlError` for `InvalidOptions` when an option cannot work.
 *
 * @see `Router` to provide another one, which may call this one for what it does not decide.
 * @since 0.2.0
 * @category constructors
 */
export const leastBusy = (options: ReadOptions = {}): Service => make(Choice.leastBusy(Choice.chance()), options)

/**
 * Reads go to the replicas in turn, writes to the primary.
 *
 * **When to use:** where every replica shall get the same number of reads, however busy it is.
 *
 * @see `leastBusy`, which looks at how busy they are. The options and what they throw are the same.
 * @since 0.2.0
 * @category constructors
 */
export const roundRobin = (options: ReadOptions = {}): Service => make(Choice.roundRobin(Choice.chance()), options)

/**
 * Reads go to the replicas by chance, writes to the primary.
 *
 * @see `leastBusy`, which looks at how busy they are. The options and what they throw are the same.
 * @since 0.2.0
 * @category constructors
 */
export const random = (options: ReadOptions = {}): Service => make(Choice.random(Choice.chance()), options)

/**
 * Provides a router to the Layer of a driver.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (router: Service): Layer.Layer<Router> => Layer.succeed(Router, router)
