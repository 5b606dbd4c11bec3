/**
 * Which endpoint a statement goes to.
 *
 * A router only chooses. Everything around the choice belongs to `Sql`, whichever router is used: a read that gets no
 * connection to its replica in half of its time takes one to the primary, pins keep their connection, and statements inside
 * of a transaction never move.
 *
 * @since 0.2.0
 */
import type { Instant } from "@sluice/pool/Deadline"
import { Context, Layer } from "effect"
import type { Intent } from "./internal/routing/intent.js"
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
   * The target of one statement, pin or transaction. `undefined` stands for the primary.
   *
   * - Called once for each acquire, on the path of every statement: at most 2 microseconds, no I/O. It must not throw: an
   *   exception is a defect of the statement.
   * - `intent`: `write` where the program said nothing.
   * - `token`: the position that the read must not be behind. Always `undefined` in this version.
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
}

/**
 * The tag. The Layer of a driver takes the router that the program provides to it, else `roundRobin()`, and provides the one
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
 * const others = Router.roundRobin()
 *
 * const ByTenant = Router.layer({
 *   choose: (intent, token, snapshot, deadline, context) => {
 *     const own = snapshot.replicas[Context.get(context, CurrentTenant) % snapshot.replicas.length]
 *     return intent === "read" && own?.isUp ? own : others.choose(intent, token, snapshot, deadline, context)
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

class RoundRobin implements Service {
  private turn = 0

  // An own property, so that a program may take `choose` out of its router.
  readonly choose: Service["choose"] = (intent, _token, { primary, replicas }) => {
    if (intent === "write") return primary
    for (let i = 0; i < replicas.length; i++) {
      const candidate = replicas[this.turn++ % replicas.length]!
      if (candidate.isUp && !candidate.isSilent) return candidate
    }
    return primary
  }
}

/**
 * Writes go to the primary. Reads go to the replicas in turn, without those that are not up or silent; when there is none they
 * go to the primary. This is the router of every `Sql` that is given no other.
 *
 * @see `Router` to provide another one, which may call this one for what it does not decide.
 * @since 0.2.0
 * @category constructors
 */
export const roundRobin = (): Service => new RoundRobin()

/**
 * Provides a router to the Layer of a driver.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (router: Service): Layer.Layer<Router> => Layer.succeed(Router, router)
