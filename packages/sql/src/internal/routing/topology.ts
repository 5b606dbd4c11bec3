import { Effect, Stream } from "effect"
import type { Service, Snapshot } from "../../Topology.js"
import type { Members } from "./members.js"

/** What a program sees of the members. `ask` asks all servers. */
export const make = <Conn>(members: Members<Conn>, ask: Effect.Effect<void>): Service => ({
  snapshot: () => members.snapshot,
  // Made when somebody reads it, because few programs do.
  changes: Stream.suspend(() => changesOf(members)),
  refresh: Effect.zipRight(
    ask,
    Effect.sync(() => members.publish())
  )
})

const changesOf = <Conn>(members: Members<Conn>): Stream.Stream<Snapshot> =>
  Stream.asyncPush<Snapshot>(
    (emit) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          emit.single(members.snapshot)
          return members.listen((snapshot) => emit.single(snapshot))
        }),
        (stop) => Effect.sync(stop)
      ),
    { bufferSize: "unbounded" }
  )
