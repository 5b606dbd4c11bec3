import type { Effect } from "effect"

/** What the nodes of every kind of cluster have and can do. */
export interface ServerNode<E, Mode extends string> {
  /** `primary`, or `replica-1`, `replica-2`, … Names the node's first role; `role` is the present one. */
  readonly name: string
  /** Always `127.0.0.1`. */
  readonly host: string
  /** The same for the life of the cluster; between 15000 and 32000. */
  readonly port: number
  readonly dataDir: string
  /** Starts the server and waits until it accepts connections, at most 30 seconds. Does nothing if the server runs. */
  readonly start: Effect.Effect<void, E>
  /** `stop`, then `start` on the same port. Default `fast`. */
  readonly restart: (mode?: Mode) => Effect.Effect<void, E>
  /**
   * Freezes the server and every session (SIGSTOP), and succeeds when all of its processes have stopped.
   * The kernel still accepts new connections for the server, but gives no answer on them.
   */
  readonly pause: Effect.Effect<void, E>
  /** Continues a paused server. Does nothing if the server is not paused. */
  readonly resume: Effect.Effect<void, E>
  /** The role that the server reports: a replica follows another server. */
  readonly role: Effect.Effect<"primary" | "replica", E>
  /** The last 8 KiB of the server's log. */
  readonly log: Effect.Effect<string>
  /** Waits until the server answers a statement, at most 30 seconds. */
  readonly awaitReady: Effect.Effect<void, E>
}

/** A cluster of such nodes. */
export interface ServerCluster<Node, E> {
  /** The node that was made as primary. A promotion does not change this field. */
  readonly primary: Node
  readonly replicas: ReadonlyArray<Node>
  /** The primary, then the replicas. */
  readonly nodes: ReadonlyArray<Node>
  /**
   * Waits until every replica shows what was committed on `primary` before this call, at most 30 seconds.
   * Replicas that were promoted are left out.
   */
  readonly awaitReplicated: Effect.Effect<void, E>
}
