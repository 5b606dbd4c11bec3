/** What the servers of the benchmarks of databases have in common. */
import { readdirSync, readFileSync } from "node:fs"
import { FaultProxy } from "@sluice/testkit"
import { Effect, Exit, Scope } from "effect"

export interface Server {
  readonly url: string
  /** The same server behind a network whose round trip takes `roundTripMillis`. */
  readonly delayedUrl: string
  readonly cpu: () => number | undefined
  readonly close: () => Promise<void>
}

export const roundTripMillis = 4

/** Where the server at `url` is found behind a network with this round trip. */
export const delayed = Effect.fnUntraced(function* (
  target: { readonly host: string; readonly port: number },
  url: string,
  millis: number = roundTripMillis
) {
  const proxy = yield* FaultProxy.make({ target })
  yield* proxy.delay(millis / 2)
  return url.replace(`:${target.port}/`, `:${proxy.port}/`)
})

/**
 * CPU of a server's process, its threads, and the processes that it has started, to the nanosecond. On Linux only. What
 * threads and processes that have ended have used is not in it, so it is right while connections stay.
 */
export const cpuOf = (server: number): number | undefined => {
  try {
    const read = (path: string): string => readFileSync(`/proc/${path}`, "utf8")
    const children = read(`${server}/task/${server}/children`).trim()
    return [String(server), ...(children === "" ? [] : children.split(" "))]
      .flatMap((pid) => readdirSync(`/proc/${pid}/task`).map((thread) => `${pid}/task/${thread}/schedstat`))
      .map((path) => Number(read(path).split(" ")[0]))
      .reduce((a, b) => a + b)
  } catch {
    return undefined
  }
}

/** One server for the whole run. It ends with `close`, and also when this process dies in any way. */
export const startServer = async <A, E extends object>(
  start: Effect.Effect<A, E, Scope.Scope>
): Promise<A & { readonly close: () => Promise<void> }> => {
  const scope = await Effect.runPromise(Scope.make())
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  try {
    return { ...(await Effect.runPromise(Scope.extend(start, scope))), close }
  } catch (error) {
    await close()
    throw error
  }
}
