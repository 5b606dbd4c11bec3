import type { Instant } from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import type { PoolGauge } from "@sluice/pool/PoolStats"
import type { Priority } from "@sluice/pool/Priority"
import { Effect } from "effect"
import type { EndpointInfo } from "../../driver/Driver.js"
import type * as Topology from "../../Topology.js"
import type { Control } from "./control.js"
import type { Silence } from "./silence.js"

/** One endpoint with its pool and its control connection. `Members` changes the fields that can be changed. */
export interface Target<Conn> extends Topology.Target {
  readonly info: EndpointInfo
  readonly pool: Pool.Pool<Conn>
  readonly control: Control<Conn>
  readonly address: string | undefined
  readonly port: number | undefined
  role: "primary" | "replica"
  lag: number | undefined
  position: string | undefined
  upSince: Instant
  isLagging: boolean
  share: number
  /** It was asked three times in a row, and how far it is behind could not be told. */
  isLagUnknown: boolean
  /** Its control connection gets no answer, so that no read goes there. */
  isOut: boolean
  /** False while the pool has no open connection and its host does not answer. Unlike `isUp` it stays true when suspended. */
  readonly isReachable: boolean
  readonly phase: PoolGauge["phase"]
  /** When its server has last sent something. */
  readonly heardAt: Instant
  readonly estimate: PoolGauge["estimate"]
  readonly patience: PoolGauge["patience"]
  /** Sends away everybody who waits for a connection of its pool. */
  readonly dismiss: () => void
  /** Each open connection must pass a check before it is handed out again. */
  readonly suspect: () => void
}

export class PoolTarget<Conn> implements Target<Conn> {
  readonly label: string
  readonly address: string | undefined
  readonly port: number | undefined
  isOut = false
  lag: number | undefined = undefined
  position: string | undefined = undefined
  isLagging = false
  isLagUnknown = false
  share = 1
  private readonly gauge: PoolGauge

  constructor(
    public role: "primary" | "replica",
    readonly info: EndpointInfo,
    readonly pool: Pool.Pool<Conn>,
    readonly control: Control<Conn>,
    private readonly silence: Silence<Conn>,
    public upSince: Instant
  ) {
    this.label = info.label
    this.address = info.address
    this.port = info.port
    this.gauge = Pool.gauge(pool)
  }

  /** With nothing open and a host that does not answer, nobody should wait here. The pool goes on connecting by itself. */
  get isUp(): boolean {
    return this.gauge.phase === "running" && this.gauge.isUp && !this.isOut
  }

  get isSilent(): boolean {
    return this.silence.isSilent()
  }

  get isReachable(): boolean {
    return this.gauge.isUp && !this.isOut
  }

  get phase(): PoolGauge["phase"] {
    return this.gauge.phase
  }

  get heardAt(): Instant {
    return this.silence.heardAt()
  }

  get latency(): number {
    return this.info.times?.latency ?? 0
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

  estimate(priority: Priority): number {
    return this.gauge.estimate(priority)
  }

  patience(priority: Priority, acquireTimeout: number): number {
    return this.gauge.patience(priority, acquireTimeout)
  }

  dismiss(): void {
    Effect.runSync(Pool.dismiss(this.pool))
  }

  suspect(): void {
    Effect.runSync(Pool.suspect(this.pool))
  }
}
