import { Pool } from "@sluice/pool"
import { Effect, Scope } from "effect"
const n = Number(process.argv[2])
for (let i = 0; i < n; i++) {
  const scope = Effect.runSync(Scope.make())
  const pool = Effect.runSync(Scope.extend(Pool.make({ maxSize: 10, minIdle: 10, connect: () => Effect.sync(() => ({})) }), scope))
  const t = performance.now()
  while (Pool.unsafeStats(pool).available < 10) {
    await new Promise((r) => setImmediate(r))
    if (performance.now() - t > 5000) { console.log("stuck", i, Pool.unsafeStats(pool), (pool as any)[Pool.TypeId].engine.wakeAt, Date.now()); process.exit(1) }
  }
  const took = performance.now() - t
  if (took > 500) console.log("slow", i, took)
  await new Promise((r) => setTimeout(r, 1))
}
console.log("ok")
process.exit(0)
