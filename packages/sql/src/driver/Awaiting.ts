/**
 * What a connection awaits of its server, for drivers that have a `Pipeline`.
 *
 * @since 0.2.0
 */
import type { Awaiting } from "./Driver.js"
import type { Operation, Owner, Pipeline } from "./Pipeline.js"

/**
 * Reads what `connection` awaits from its pipeline and its socket. While the program has paused the socket nothing is awaited.
 *
 * @since 0.2.0
 * @category constructors
 */
export const of = <Op extends Operation<Op>>(connection: Owner<Op> & { readonly pipeline: Pipeline<Op> }): Awaiting => {
  const { endpoint, pipeline, socket } = connection
  return {
    get isBusy() {
      return pipeline.current !== undefined && !connection.isDead
    },
    get operation() {
      const { current } = pipeline
      return current === undefined || current.isResting || connection.isDead || socket.isPaused() ? undefined : current
    },
    get since() {
      const { current } = pipeline
      return current === undefined ? pipeline.timers.now() : pipeline.beganAt(current)
    },
    get answeredAt() {
      return pipeline.answeredAt
    },
    get received() {
      return socket.bytesRead
    },
    get roundTrip() {
      return endpoint.roundTrip.ms
    },
    observe: (observer) => {
      pipeline.observer = observer
    },
    sendElsewhere: () => {
      for (const read of pipeline.waiting()) if (read.mayMove()) read.move(() => {})
    },
    lose: (cause) => {
      connection.end(cause)
      socket.destroy()
    }
  }
}
