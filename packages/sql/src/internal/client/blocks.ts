import * as Client from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { Context } from "effect"
import type { Cluster } from "../routing/cluster.js"
import * as Pin from "../session/pin.js"

/**
 * A connection of a client carries its block under this key. It is a plain property, because programs spread
 * connections (`{ ...connection, execute: … }`), and the copy must still be known as ours.
 */
const BlockKey = Symbol.for("@sluice/sql/Block")

let clients = 0

/** Which block a fiber is inside of, for one client. */
export interface Blocks<Conn> {
  readonly of: (context: Context.Context<never>) => Pin.Block<Conn> | undefined
  /** The context of a fiber inside of `block`. `connection` makes the connection that `@effect/sql` sees there. */
  readonly enter: (
    context: Context.Context<never>,
    block: Pin.Block<Conn>,
    connection: (block: Pin.Block<Conn>) => Connection
  ) => Context.Context<any>
}

/** Marks a connection as one of `block`. */
export const mark = <Conn>(connection: Connection, block: Pin.Block<Conn>): Connection =>
  Object.assign(connection, { [BlockKey]: block })

/**
 * There are two tags. Our own says which block a fiber is inside of, for this client alone: the tag of `@effect/sql` is shared
 * by all clients, and with it a statement of one database could run inside a transaction of another. But resolvers carry
 * only the shared tag from the caller to the batch, so it is set too, and believed when the connection in it is ours.
 */
export const make = <Conn>(cluster: Cluster<Conn>): Blocks<Conn> => {
  const Own = Context.GenericTag<Pin.Block<Conn>>(`@sluice/sql/Block/${++clients}`)
  const Shared = Client.TransactionConnection
  return {
    of: (context) => {
      const own = context.unsafeMap.get(Own.key) as Pin.Block<Conn> | undefined
      if (own !== undefined) return Pin.carries(own) ? own : undefined
      const shared = context.unsafeMap.get(Shared.key) as readonly [any, number] | undefined
      const block = shared?.[0]?.[BlockKey] as Pin.Block<Conn> | undefined
      return block !== undefined && block.pin.cluster === cluster && Pin.carries(block) ? block : undefined
    },
    enter: (context, block, connection) =>
      block.transaction === undefined
        ? Context.add(context, Own, block)
        : Context.add(Context.add(context, Own, block), Shared, [connection(block), block.transaction.depth])
  }
}
