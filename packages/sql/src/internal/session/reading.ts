import type { Inspection } from "@sluice/pool/PoolOptions"
import { Effect, type Scope } from "effect"

/**
 * The connections on which streams are read. Between two pieces of a stream its connection may look idle, and it is not forgotten.
 */
export interface Reading {
  /** A stream is read on this connection until the scope closes. */
  readonly on: (connection: unknown) => Effect.Effect<void, never, Scope.Scope>
  /** What a connection is used for, of which the driver knows this. */
  readonly inspect: (connection: unknown, found: Inspection) => Inspection
}

export const make = (): Reading => {
  const streams = new WeakMap<WeakKey, number>()
  const change = (connection: unknown, by: number) =>
    Effect.sync(() => {
      const key = connection as WeakKey
      streams.set(key, (streams.get(key) ?? 0) + by)
    })
  return {
    on: (connection) => Effect.acquireRelease(change(connection, 1), () => change(connection, -1)),
    inspect: (connection, found) =>
      (streams.get(connection as WeakKey) ?? 0) > 0 ? { ...found, kind: "stream" } : found
  }
}
