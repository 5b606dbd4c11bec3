/** The whole demo: a cluster, and one fault after the other. */
import { PgCluster } from "@sluice/testkit"
import { Clock, Effect, Redacted } from "effect"
import type { Evidence } from "./Claims.js"
import type { Endpoint } from "./Endpoints.js"
import * as Scene from "./Scene.js"

/** The endpoint that a url names. */
const endpointOf = ({ url }: PgCluster.PgNode): Endpoint => {
  const { hostname, password, pathname, port, username } = new URL(Redacted.value(url))
  return { host: hostname, port: Number(port), database: pathname.slice(1), username, password }
}

/** The original: write and read endpoint are the same host, which restarts. */
const restart = Effect.gen(function* () {
  const { primary } = yield* PgCluster.make()
  yield* primary.query("create table work (side text not null, id integer not null)")
  const write = endpointOf(primary)
  return yield* Scene.run({
    title: "The database restarts",
    // Another name of the same host: two endpoints that are the same in every letter share one pool in Sluice.
    endpoints: { write, read: { ...write, host: "localhost" } },
    each: 10,
    kill: primary.stop("fast"),
    downFor: "3 seconds",
    revive: primary.start,
    revived: "the server accepts connections again",
    patience: 8_000,
    survivor: primary
  })
}).pipe(Effect.scoped)

/** A second host: the primary crashes, and its replica is made the primary a second later. */
const failover = Effect.gen(function* () {
  const { awaitReplicated, primary, replicas } = yield* PgCluster.make({ replicas: 1 })
  const replica = replicas[0]!
  yield* primary.query("create table work (side text not null, id integer not null)")
  // The primary acknowledges a write when the replica has it. Else a crash loses the last ones, whatever a client does.
  yield* primary.query("alter system set synchronous_standby_names = '*'")
  yield* primary.query("select pg_reload_conf()")
  yield* awaitReplicated
  return yield* Scene.run({
    title: "The primary crashes, and the replica is promoted",
    endpoints: { write: endpointOf(primary), read: endpointOf(replica) },
    options: { failoverHold: "5 seconds" },
    // One server is left, with one pool of ten for all.
    each: 5,
    kill: primary.stop("immediate"),
    downFor: "1 second",
    revive: replica.promote,
    revived: "the replica has become the primary",
    patience: 4_000,
    survivor: replica
  })
}).pipe(Effect.scoped)

export const run = Effect.gen(function* () {
  const startedAt = yield* Clock.currentTimeMillis
  const evidence: Omit<Evidence, "elapsedMs"> = { restart: yield* restart, failover: yield* failover }
  return { ...evidence, elapsedMs: (yield* Clock.currentTimeMillis) - startedAt } satisfies Evidence
})
