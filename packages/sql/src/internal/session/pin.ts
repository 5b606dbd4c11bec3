import type { SqlError } from "@effect/sql/SqlError"
import type * as Pool from "@sluice/pool/Pool"
import type { Effect } from "effect"
import type { BeginOptions } from "../../driver/Driver.js"
import type { Cluster } from "../routing/cluster.js"
import type { Intent } from "../routing/intent.js"
import * as Lock from "./lock.js"

/**
 * A *pin* keeps several statements on one connection: it holds one lease, taken at the first statement. A *block* is what a
 * fiber is inside of: the pin itself (its root block), a transaction, or a savepoint. A block runs one thing at a time, in the
 * order of asking (its lock), and an inner block holds the lock of its outer block for as long as it lives; so a connection has
 * one user at any time.
 *
 * 1. The connection is used only by the holder of the innermost lock.
 * 2. The next user of a connection that is still `busy` aborts what runs there first; then it runs `pendingCleanup`, in order.
 * 3. A block that is closed never uses the connection again: statements of a closed root go to the pool, statements of a closed
 *    transaction fail.
 * 4. The lease is given back exactly once: when the root is closed and its lock is free.
 * 5. The statements that open a transaction travel with its first statement, so until then the connection may be exchanged
 *    unnoticed.
 */
export interface Pin<Conn> {
  readonly cluster: Cluster<Conn>
  readonly intent: Intent | undefined
  readonly options: Pool.AcquireOptions | undefined
  /** Set by `connection.ts` when a lease is granted, and by `giveBack`. */
  lease: Lease<Conn> | undefined
  /** Work that an interrupted block could not wait for: run before the connection is used again. */
  pendingCleanup: Array<(connection: Conn) => Effect.Effect<void, SqlError>>
  /** The program has changed the session, so a lost connection would lose the change. */
  hasSession: boolean
  savepoints: number
  opening: Opening | undefined
  /** The pin belongs to a hook, and takes no lease: what its statements fail with when they would need one. */
  readonly lost: ((by?: SqlError) => SqlError) | undefined
}

interface Lease<Conn> {
  readonly connection: Conn
  readonly intent: Intent | undefined
  /** That of the members when it was leased: another server may take the writes since then. */
  readonly epoch: number
  readonly release: () => void
}

/** The statements that open the transaction on a pin. */
export interface Opening {
  readonly statements: ReadonlyArray<string>
  /** The server has said that the transaction is open, or its first statement has succeeded. */
  isDone: boolean
}

export interface Block<Conn> {
  readonly pin: Pin<Conn>
  readonly lock: Lock.Lock
  /** `undefined` at the root. */
  readonly transaction: Transaction | undefined
  closed: boolean
  /** A cursor holds the lock of a root block; meanwhile its other statements go to the pool. */
  streaming: boolean
}

export interface Transaction extends BeginOptions {
  readonly depth: number
  /** The failure that made the transaction useless, kept for the message when COMMIT is refused. */
  failedBy: SqlError | undefined
}

export const makeBlock = <Conn>(pin: Pin<Conn>, transaction?: Transaction): Block<Conn> => ({
  pin,
  lock: Lock.make(),
  transaction,
  closed: false,
  streaming: false
})

/** The root block of a new pin, without a connection. */
export const make = <Conn>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  options: Pool.AcquireOptions | undefined
): Block<Conn> =>
  makeBlock({
    cluster,
    intent,
    options,
    lease: undefined,
    pendingCleanup: [],
    hasSession: false,
    savepoints: 0,
    opening: undefined,
    lost: undefined
  })

/** The root block of a pin on this connection, or on none, for ever. */
export const fixed = <Conn>(
  cluster: Cluster<Conn>,
  connection: Conn | undefined,
  lost: (by?: SqlError) => SqlError
): Block<Conn> =>
  makeBlock({
    cluster,
    intent: undefined,
    options: undefined,
    lease: connection === undefined ? undefined : { connection, intent: undefined, epoch: Infinity, release: () => {} },
    pendingCleanup: [],
    hasSession: true,
    savepoints: 0,
    opening: undefined,
    lost
  })

/** Whether statements of a fiber inside this block go to its connection. */
export const carries = <Conn>(block: Block<Conn>): boolean =>
  block.transaction !== undefined || !(block.closed || block.streaming)

/** Gives the connection to the pool, as it is. Does nothing without a lease. */
export const giveBack = <Conn>(pin: Pin<Conn>): void => {
  const { lease } = pin
  if (lease === undefined) return
  // A rollback may be among the pending work. The pool does it, and must not report the transaction as left open.
  if (pin.pendingCleanup.length > 0) pin.cluster.leftOpen.excuse(lease.connection)
  pin.lease = undefined
  pin.pendingCleanup = []
  pin.hasSession = false
  lease.release()
}

/** To be called when the lock of a block has become free: gives the lease back if its root was closed meanwhile (4). */
export const releaseIfClosed = <Conn>(block: Block<Conn>): void => {
  if (block.closed && !block.lock.held && block.transaction === undefined) giveBack(block.pin)
}

/** Closes a root block. A statement of another fiber that is still under way keeps the lease until it ends (4). */
export const close = <Conn>(block: Block<Conn>): void => {
  block.closed = true
  releaseIfClosed(block)
}
