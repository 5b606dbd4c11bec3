import { Pool } from "@sluice/pool"
import { Router, type Topology } from "@sluice/sql"
import { Context, Effect, Exit, Scope } from "effect"
import { type Target as Inner, PoolTarget } from "../../../packages/sql/src/internal/routing/target.js"
import type { Start } from "../harness/subject.js"
import { expectUses, type PoolSettings, Resource } from "./settings.js"

/** One of the targets of a client, with a pool of its own that is partly in use. */
const target = (label: string, size: number): Effect.Effect<Inner<Resource>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const pool = yield* Effect.orDie(Pool.make({ maxSize: size, connect: () => Effect.sync(() => new Resource()) }))
    yield* Effect.orDie(Pool.acquire(pool))
    const info = { key: label, label, times: { latency: 1 } }
    const control = { stats: () => ({ open: 0, connects: 0 }) } as Inner<Resource>["control"]
    const silence = { isSilent: () => false } as ConstructorParameters<typeof PoolTarget<Resource>>[4]
    return new PoolTarget("replica", info, pool, control, silence, 0)
  })

/** What a read costs more than a write: the choice among three replicas. */
const choosing =
  (router: Router.Service): Start<PoolSettings> =>
  async ({ size }) => {
    const scope = await Effect.runPromise(Scope.make())
    const [primary, ...replicas] = await Effect.runPromise(
      Scope.extend(
        Effect.forEach(["primary", "a", "b", "c"], (label) => target(label, size)),
        scope
      )
    )
    const snapshot: Topology.Snapshot = { primary: primary!, isWritable: true, replicas, at: 0 }
    const context = Context.empty()
    return {
      run: (calls) => {
        let chosen = 0
        for (let i = 0; i < calls; i++) {
          if (router.choose("read", undefined, snapshot, Infinity, context) !== undefined) chosen++
        }
        expectUses(chosen, calls)
      },
      close: () => Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }

export const leastBusy = choosing(Router.leastBusy())
export const roundRobin = choosing(Router.roundRobin())
export const random = choosing(Router.random())
