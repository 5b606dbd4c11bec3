import * as Pool from "@sluice/pool/Pool"
import type { EndpointInfo } from "../../driver/Driver.js"
import type * as Topology from "../../Topology.js"
import type { Control } from "./control.js"

/** One endpoint with its pool and its control connection. */
export interface Target<Conn> extends Topology.Target {
  readonly info: EndpointInfo
  readonly pool: Pool.Pool<Conn>
  readonly control: Control<Conn>
  /** False while the pool has no open connection and its host does not answer. Unlike `isUp` it stays true when suspended. */
  readonly isReachable: boolean
}

/** The numbers of a pool for one choice. The only place that decides how they are read. */
const gauge = (pool: Pool.Pool<any>) => Pool.unsafeStats(pool)

export class PoolTarget<Conn> implements Target<Conn> {
  readonly label: string

  constructor(
    readonly role: "primary" | "replica",
    readonly info: EndpointInfo,
    readonly pool: Pool.Pool<Conn>,
    readonly control: Control<Conn>
  ) {
    this.label = info.label
  }

  /** With nothing open and a host that does not answer, nobody should wait here. The pool goes on connecting by itself. */
  get isUp(): boolean {
    return gauge(this.pool).phase === "running" && this.isReachable
  }

  get isReachable(): boolean {
    const { host, size } = gauge(this.pool)
    return size > 0 || host === "closed"
  }

  get using(): number {
    return gauge(this.pool).using
  }

  get available(): number {
    return gauge(this.pool).available
  }

  get waiting(): number {
    return gauge(this.pool).waiting
  }

  get max(): number {
    return gauge(this.pool).max
  }
}
