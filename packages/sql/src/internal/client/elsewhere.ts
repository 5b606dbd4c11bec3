/**
 * How a packed read that is held up on its connection is executed on another one as well.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import type { AcquireError } from "@sluice/pool/PoolError"
import { CurrentAcquireTimeout } from "@sluice/pool/PoolOptions"
import { Effect, type Fiber } from "effect"
import type { PackedRequest, Packing } from "../../driver/Driver.js"
import { forkAs } from "../../driver/Fork.js"
import { acquired, type Cluster } from "../routing/cluster.js"
import { intentOf } from "../routing/intent.js"
import * as Route from "../routing/route.js"
import * as Budget from "./budget.js"
import { toSqlError } from "./errors.js"

/**
 * The read goes to its second connection among other packed reads: alone, each would wait for its turn, which takes long on a busy
 * machine. If it is held up there too, it has the third one for itself. A server on which everything is late is not asked again for long:
 * there is a budget.
 */
export const again = <Conn>(cluster: Cluster<Conn>, packing: Packing<Conn>): NonNullable<PackedRequest["again"]> => {
  const { driver, members, scope, targetOf, totals } = cluster
  const budget = Budget.make(() => acquired(cluster), Budget.held)

  /** In a fiber that has the context of the caller, and so its deadline, priority and span. */
  const forCaller = (
    { fiber: caller }: PackedRequest,
    once: (fiber: Fiber.RuntimeFiber<any, any>, until: Deadline.Instant) => Effect.Effect<any, AcquireError | SqlError>
  ) => {
    if (!budget.take()) {
      totals.elsewhereDenied++
      return undefined
    }
    totals.elsewhere++
    const context = caller.currentContext
    const copy = Effect.withFiberRuntime<any, AcquireError | SqlError>((fiber) =>
      once(fiber, Deadline.currentIn(context))
    )
    // Nobody waits for this connection alone, so a timeout would be none of a caller. On a replica it leads to the primary.
    const hasReplica = intentOf(context) === "read" && members.snapshot.replicas.length > 0
    const patient = hasReplica ? copy : Effect.provideService(copy, CurrentAcquireTimeout, Infinity)
    return forkAs(scope, caller, Effect.mapError(patient, toSqlError))
  }

  const alone: PackedRequest["again"] = (request, sent, late) =>
    forCaller(request, (fiber, until) =>
      Route.lend(
        cluster,
        intentOf(fiber.currentContext),
        (connection) => {
          sent()
          return driver.execute(connection, request.sql, request.params, request.mode, undefined, until)
        },
        undefined,
        targetOf(late as Conn)
      )
    )

  return (request, sent, late) =>
    forCaller(request, (fiber, until) =>
      Route.share<Conn, any>(
        cluster,
        intentOf(fiber.currentContext),
        (connection, resume, answer) => {
          packing.start(connection, { ...request, fiber, interruptible: true, until, resume, answer, again: alone })
          // Not before: the others follow at once, and among them are reads that may be held up by the same.
          sent()
        },
        undefined,
        targetOf(late as Conn)
      )
    )
}
