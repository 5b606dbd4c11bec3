/**
 * What one operation cost, by the subject's own clock or count; named as the scenario's `measure` names it. `wall` and
 * `cpu` replace what the measuring process sees of itself, for a subject that is another program.
 */
export type Metrics = Readonly<Record<string, number>>

/** Something that is measured. Lives in a process of its own, from warm-up to the last round. */
export interface Subject {
  /** Does the work `calls` times. May return what it measured itself, per operation. */
  readonly run: (calls: number) => Promise<Metrics | void> | Metrics | void
  readonly close?: () => Promise<void> | void
}

/** What a subject's module exports under the name that a case gives as `start`. */
export type Start<Settings = any> = (settings: Settings) => Promise<Subject> | Subject

/** The result of one round, as the measuring process sends it. Times are nanoseconds for one operation. */
export interface Sample {
  readonly wall: number
  readonly cpu: number
  /** Of the server that all cases share, if there is one. */
  readonly serverCpu?: number
  readonly calls: number
  readonly metrics: Metrics
}

export const collectGarbage = (): void => {
  if (globalThis.gc === undefined) throw new Error("garbage collection is not exposed: run node with --expose-gc")
  globalThis.gc()
}
