import type { Effect } from "effect"

/** What a node is and does whichever database it runs. */
export interface ServerNode<E, Mode extends string> {
  /** `primary`, or `replica-1`, `replica-2`, … Names the node's first role; `role` is the present one. */
  readonly name: string
  /** Always `127.0.0.1`. */
  readonly host: string
  /** The same for the life of the cluster; between 15000 and 32000. */
  readonly port: number
  readonly dataDir: string
  /** Starts the server and waits until it accepts connections, at most 30 seconds. Nothing happens if it runs. */
  readonly start: Effect.Effect<void, E>
  /** `stop`, then `start` on the same port. Default `fast`. */
  readonly restart: (mode?: Mode) => Effect.Effect<void, E>
  /**
   * Freezes the server and every session (SIGSTOP), and returns when nothing of it moves any more.
   * The kernel still accepts new connections in its name, and nobody ever answers on them.
   */
  readonly pause: Effect.Effect<void, E>
  /** Continues a paused server. Nothing happens if it is not paused. */
  readonly resume: Effect.Effect<void, E>
  /** What the server itself says it is; a replica follows another server. */
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
   * A replica that was promoted is not waited for.
   */
  readonly awaitReplicated: Effect.Effect<void, E>
}
