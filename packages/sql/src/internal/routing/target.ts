import * as Pool from "@sluice/pool/Pool"
import type { PoolGauge } from "@sluice/pool/PoolStats"
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

export class PoolTarget<Conn> implements Target<Conn> {
  readonly label: string
  private readonly gauge: PoolGauge

  constructor(
    readonly role: "primary" | "replica",
    readonly info: EndpointInfo,
    readonly pool: Pool.Pool<Conn>,
    readonly control: Control<Conn>
  ) {
    this.label = info.label
    this.gauge = Pool.gauge(pool)
  }

  /** With nothing open and a host that does not answer, nobody should wait here. The pool goes on connecting by itself. */
  get isUp(): boolean {
    return this.gauge.phase === "running" && this.gauge.isUp
  }

  get isReachable(): boolean {
    return this.gauge.isUp
  }

  get using(): number {
    return this.gauge.using
  }

  get available(): number {
    return this.gauge.available
  }

  get waiting(): number {
    return this.gauge.waiting
  }

  get max(): number {
    return this.gauge.max
  }
}
