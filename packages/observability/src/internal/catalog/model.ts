/** What a metric is, and the attributes that several have. */
import { tags } from "@sluice/sql/SqlReason"

/**
 * - `counter`: only grows.
 * - `upDownCounter`: a number of things that there are now. Those of several processes may be added.
 * - `gauge`: a value of now, which must not be added.
 * - `histogram`: how many values have been up to each of its buckets.
 */
export type Instrument = "counter" | "upDownCounter" | "gauge" | "histogram"

/**
 * A dimension of a metric.
 */
export interface Attribute {
  readonly name: string
  /** Every value that there is; `undefined`: they come from the program or from its database. */
  readonly values: ReadonlyArray<string> | undefined
}

/**
 * A metric.
 */
export interface Definition {
  readonly name: string
  readonly instrument: Instrument
  /** In the notation of OpenTelemetry (UCUM): `s`, or what is counted in braces. */
  readonly unit: string
  readonly attributes: ReadonlyArray<Attribute>
  /** Upper bounds of a histogram. */
  readonly buckets?: ReadonlyArray<number>
  /** One sentence. */
  readonly description: string
  /** The level of `Telemetry.layer` from which on it is there. */
  readonly level: "basic" | "full"
}

/** Metrics by their names. */
export type Unnamed = Readonly<Record<string, Omit<Definition, "name">>>

export const some = (name: string): Attribute => ({ name, values: undefined })
export const oneOf = (name: string, ...values: ReadonlyArray<string>): Attribute => ({ name, values })

/** The name of the pool. Each metric of a pool has it. */
export const pool = some("db.client.connection.pool.name")

/** Why something has failed: the tag of a reason. */
export const reason = oneOf("reason", ...tags)
