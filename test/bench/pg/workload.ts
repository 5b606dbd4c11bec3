/** What the subjects of the PostgreSQL benchmark are told to do, in words that all of them understand. */

export const itemCount = 100_000
export const documentCount = 16
export const documentBytes = 1_048_576

/** A template tag: postgres.js, `SqlClient`, and `plain` below, which makes the text for the others. */
export type Tag<A> = (strings: TemplateStringsArray, ...values: Array<any>) => A

export interface Step {
  /** Also the name of the prepared statement, where a driver wants one. */
  readonly name: string
  readonly args: (key: number) => Array<unknown>
  readonly tagged: <A>(sql: Tag<A>, args: ReadonlyArray<any>) => A
  /** Rows of the answer. */
  readonly rows: number
  readonly text: string
}

const plain: Tag<string> = (strings) => strings.reduce((text, part, index) => `${text}$${index}${part}`)

const step = (
  name: string,
  rows: number,
  args: (key: number) => Array<unknown>,
  tagged: <A>(sql: Tag<A>, args: ReadonlyArray<any>) => A
): Step => ({ name, args, tagged, rows, text: tagged(plain, args(1)) })

/** For statements that need a thousand rows behind the key. */
const early = (key: number): number => ((key - 1) % (itemCount - 1_000)) + 1

const steps = {
  point: step(
    "point",
    1,
    (key) => [key],
    (sql, [id]) => sql`select id, name, price from items where id = ${id}`
  ),
  ten: step(
    "ten",
    10,
    (key) => [early(key)],
    (sql, [id]) => sql`select id, name, price from items where id >= ${id} order by id limit 10`
  ),
  thousand: step(
    "thousand",
    1_000,
    (key) => [early(key)],
    (sql, [id]) => sql`select id, name, price from items where id >= ${id} order by id limit 1000`
  ),
  megabyte: step(
    "megabyte",
    1,
    (key) => [(key % documentCount) + 1],
    (sql, [id]) => sql`select id, body from documents where id = ${id}`
  ),
  insert: step(
    "insert",
    0,
    (key) => [key, "created"],
    (sql, [item, note]) => sql`insert into events (item, note) values (${item}, ${note})`
  ),
  balance: step(
    "balance",
    1,
    (key) => [key],
    (sql, [id]) => sql`select id, balance from accounts where id = ${id}`
  ),
  deposit: step(
    "deposit",
    0,
    (key) => [key],
    (sql, [id]) => sql`update accounts set balance = balance + 1 where id = ${id}`
  ),
  slow: step(
    "slow",
    1,
    () => [],
    (sql) => sql`select pg_sleep(0.1)`
  ),
  slowish: step(
    "slowish",
    1,
    () => [],
    (sql) => sql`select pg_sleep(0.02)`
  )
} as const

export interface Workload {
  /** `one` statement by itself, or several one after another on one connection, or in a transaction. */
  readonly shape: "one" | "pinned" | "transaction"
  readonly steps: readonly [Step, ...Array<Step>]
  /** Every so many operations one is `slow` instead, and not part of the latencies. 0: none. */
  readonly slowEvery: number
}

const workload = (shape: Workload["shape"], steps: Workload["steps"], slowEvery = 0): Workload => ({
  shape,
  steps,
  slowEvery
})

export const workloads = {
  point: workload("one", [steps.point]),
  ten: workload("one", [steps.ten]),
  thousand: workload("one", [steps.thousand]),
  megabyte: workload("one", [steps.megabyte]),
  insert: workload("one", [steps.insert]),
  transaction: workload("transaction", [steps.balance, steps.deposit, steps.insert]),
  pinned: workload("pinned", [steps.point, steps.point, steps.point]),
  mix: workload("one", [steps.point], 100),
  slowish: workload("one", [steps.slowish])
} as const

export const slow = steps.slow

export interface PgSettings {
  readonly url: string
  /** Connections that the subject may open. */
  readonly connections: number
  /** Callers that work at the same time, each with one operation after another. */
  readonly callers: number
  readonly workload: keyof typeof workloads
}

export type Rows = ReadonlyArray<any>

/** A benchmark that skips work is not fast: every answer is looked at. */
export const expectRows = (step: Step, args: ReadonlyArray<unknown>, rows: Rows): void => {
  if (rows.length !== step.rows) {
    throw new Error(`"${step.text}" gave ${rows.length} rows instead of ${step.rows}`)
  }
  if (step.rows > 0 && args.length > 0 && rows[0].id !== args[0]) {
    throw new Error(`"${step.text}" with ${String(args[0])} gave the row of ${String(rows[0].id)}`)
  }
}

let seed = 1

/** From 1 to `itemCount`, evenly, the same order in every process. */
export const nextKey = (): number => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
  return (seed % itemCount) + 1
}
