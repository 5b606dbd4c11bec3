import { join } from "node:path"
import { Effect } from "effect"
import type { CommonPhase, Fail } from "./clusterError.js"
import { live, until } from "./live.js"
import { type Account, run } from "./programs.js"
import type { ServerCluster } from "./serverNode.js"

export const host = "127.0.0.1"

/** Longest time that `awaitReady`, `awaitReplicated` and `terminateBackends` wait. */
export const patience = "30 seconds"

/** `primary`, `replica-1`, `replica-2`, … */
export const replicaNames = (count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, index) => `replica-${index + 1}`)

/** Copies the data of a primary that does not run. Such a copy is a valid base for a replica. */
export const copyData = <E>(
  fail: Fail<E>,
  directory: string,
  name: string,
  account: Account | undefined
): Effect.Effect<void, E> => {
  const args = ["-R", join(directory, "primary", "data"), join(directory, name)]
  return Effect.asVoid(
    run<E, CommonPhase>(fail, { phase: "replication", where: `node "${name}"`, program: "cp", args, account })
  )
}

/** Makes a cluster of its nodes. */
export const cluster = <Node, E>(
  primary: { readonly node: Node },
  replicas: ReadonlyArray<{ readonly node: Node }>,
  awaitReplicated: Effect.Effect<void, E>
): ServerCluster<Node, E> => ({
  primary: primary.node,
  replicas: replicas.map(({ node }) => node),
  nodes: [primary, ...replicas].map(({ node }) => node),
  awaitReplicated: live(awaitReplicated)
})

/** Makes the `url` of a node. User, password and database may contain any character. */
export const url = (
  scheme: string,
  port: number,
  identity: { readonly user: string; readonly password: string; readonly database: string }
): string => {
  const [user, password, database] = [identity.user, identity.password, identity.database].map(encodeURIComponent)
  return `${scheme}://${user}:${password}@${host}:${port}/${database}`
}

/** Tries a statement until it succeeds. */
export const awaitAnswer = <E extends { readonly reason: string }>(
  fail: Fail<E>,
  name: string,
  statement: Effect.Effect<unknown, E>,
  log: Effect.Effect<string>
): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    let last: E | undefined
    const answered = statement.pipe(
      Effect.as(true),
      Effect.catchAll((error) => {
        last = error
        return Effect.succeed(false)
      })
    )
    return until(answered).pipe(
      Effect.timeoutFail({ duration: patience, onTimeout: () => "timeout" as const }),
      Effect.catchAll(() =>
        Effect.flatMap(log, (log) =>
          Effect.fail(
            fail({
              phase: "query",
              where: `node "${name}"`,
              reason: `no answer within ${patience}; last error: ${last?.reason ?? "none, because the server accepts connections and does not answer"}`,
              log: log.trim(),
              cause: last
            })
          )
        )
      )
    )
  }).pipe(live)

/** Waits until sessions are gone that were told to end: a server ends them some time after it was asked to. */
export const awaitGone = <E>(
  fail: Fail<E>,
  name: string,
  count: number,
  gone: Effect.Effect<boolean, E>
): Effect.Effect<number, E> =>
  until(gone).pipe(
    Effect.timeoutFail({
      duration: patience,
      onTimeout: () =>
        fail({
          phase: "query",
          where: `node "${name}"`,
          reason: `some of ${count} sessions that were told to end are still there after ${patience}`
        })
    }),
    Effect.as(count)
  )

/** Waits until every replica has reached a position of the primary. */
export const awaitReached = <E, Replica extends { readonly node: { readonly name: string } }>(
  fail: Fail<E>,
  replicas: ReadonlyArray<Replica>,
  position: string,
  reached: (replica: Replica) => Effect.Effect<boolean, E>
): Effect.Effect<void, E> =>
  Effect.forEach(
    replicas,
    (replica) =>
      until(reached(replica)).pipe(
        Effect.timeoutFail({
          duration: patience,
          onTimeout: () =>
            fail({
              phase: "replication",
              where: `node "${replica.node.name}"`,
              reason: `it did not reach position ${position} of the primary within ${patience}`
            })
        })
      ),
    { concurrency: "unbounded", discard: true }
  )
