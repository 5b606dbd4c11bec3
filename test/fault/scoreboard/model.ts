/** What a fault scenario is, what it measures, and who it is measured on. */

import type { SqlClient } from "@effect/sql/SqlClient"
import type { PoolConfig } from "@sluice/pool/PoolOptions"
import type { Sql } from "@sluice/sql"
import type { RuntimeConfig } from "@sluice/sql/driver/Runtime"
import type { Context, Effect, Scope } from "effect"
import type { Database } from "../../contract/databases.js"
import type { Cluster } from "../clusters.js"

/** `virtual`: a clock that the scenario moves, and no server. */
export type Place = Database | "virtual"

/** `never`: not within the time that the scenario waits. */
export type Measured = number | "never"

/** What one run of a scenario has measured, by the keys of `Scenario.numbers`. What a subject cannot have is left out. */
export type Numbers = Readonly<Record<string, Measured>>

export interface NumberOf {
  readonly title: string
  /** Times are judged by their median and with a tolerance, everything else by the worst run. */
  readonly unit: "ms" | "count" | "%" | "per second"
  readonly atMost?: number
  readonly atLeast?: number
}

export interface Address {
  readonly host: string
  readonly port: number
}

/** Runs one text. */
export type Query = (text: string) => Effect.Effect<ReadonlyArray<any>, unknown>

/** What every client can do. */
export interface Client {
  /** A statement of which nothing is known. */
  readonly query: Query
  /** A statement that only reads, where a client can be told so. */
  readonly read: Query
  /** A statement that may be executed twice, where a client can be told so. */
  readonly idempotent: Query
  /** BEGIN, the body, COMMIT: on one connection. */
  readonly transaction: <A>(body: (query: Query) => Effect.Effect<A, unknown>) => Effect.Effect<A, unknown>
  /** The body has one connection, which it may leave as it likes. */
  readonly pinned: <A>(body: (query: Query) => Effect.Effect<A, unknown>) => Effect.Effect<A, unknown>
  /** As the documentation of the client says that a program ends. */
  readonly close: Effect.Effect<unknown, unknown>
  /** Ours, for what only ours can tell. */
  readonly sluice?: Context.Context<Sql.Sql | SqlClient> | undefined
}

export interface OpenOptions {
  readonly database: Database
  /** Under which the sessions are found on the server. */
  readonly name: string
  readonly user: string
  /** Default: the name of the user. An effect is for those who read it anew for each connection. */
  readonly password?: string | (() => string) | undefined
  readonly at: Address
  /** Further servers, of which one may become the primary. */
  readonly others?: ReadonlyArray<Address> | undefined
  /** Where reads go. */
  readonly replicas?: ReadonlyArray<Address> | undefined
  /** Connections at most. Default 10. */
  readonly max?: number | undefined
  /** Longest wait for a connection, in milliseconds; the client's default if left out. Those who cannot be told wait for ever. */
  readonly acquireTimeout?: number | undefined
  /** What ours is told besides. */
  readonly pool?: PoolConfig | undefined
  readonly sluice?: RuntimeConfig | undefined
}

export interface Subject {
  readonly name: string
  readonly databases: ReadonlyArray<Place>
  readonly isOurs: boolean
  /** The packages whose versions decide. */
  readonly packages: ReadonlyArray<string>
  readonly open: (options: OpenOptions) => Effect.Effect<Client, unknown, Scope.Scope>
}

/** What one run has. */
export interface Rig {
  readonly subject: Subject
  readonly database: Database
  readonly cluster: Cluster
  /** No other run has it. */
  readonly name: string
  /** A statement that takes so many seconds. */
  readonly sleep: (seconds: number) => string
  /** A client of the subject, with a user of its own. */
  readonly open: (
    options?: Partial<OpenOptions> & { readonly room?: number | undefined }
  ) => Effect.Effect<Client, unknown, Scope.Scope>
}

export interface Scenario {
  /** As on the page of faults. */
  readonly id: string
  /** Tells scenarios of one fault apart. */
  readonly variant?: string
  /** The contract, as a sentence. */
  readonly name: string
  readonly places: ReadonlyArray<Place>
  /** Why a subject is not run. `peers`: all but ours. */
  readonly notRun?: Readonly<Record<string, string>>
  /** Default 0. */
  readonly replicas?: number
  /** Whether each run has a server of its own, because it cannot be made as it was. */
  readonly isFresh?: boolean
  /** Seconds after which a run is given up. */
  readonly patience: number
  readonly numbers: Readonly<Record<string, NumberOf>>
  readonly run: (rig: Rig) => Effect.Effect<Numbers, unknown, Scope.Scope>
}

export const titleOf = ({ id, variant }: Pick<Scenario, "id" | "variant">): string =>
  variant === undefined ? id : `${id} ${variant}`

/** Why a subject is not run in a scenario; `undefined` if it is. */
export const reasonNotToRun = (scenario: Scenario, subject: Subject, place: Place): string | undefined =>
  subject.isOurs || subject.databases.includes(place)
    ? (scenario.notRun?.[subject.name] ?? (subject.isOurs ? undefined : scenario.notRun?.["peers"]))
    : "another database"
