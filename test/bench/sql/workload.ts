/** What the subjects of the benchmarks of databases are told to do, in words that all of them understand. */

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
  /** The same with `$1`, `$2`, … for its values, which Sequelize wants for all databases. */
  readonly numbered: string
}

export type Dialect = "postgresql" | "mysql"

const withPlaceholders =
  (placeholder: (index: number) => string): Tag<string> =>
  (strings) =>
    strings.reduce((text, part, index) => `${text}${placeholder(index)}${part}`)

const numbered = withPlaceholders((index) => `$${index}`)

const plain: Readonly<Record<Dialect, Tag<string>>> = {
  postgresql: numbered,
  mysql: withPlaceholders(() => "?")
}

type Spoken = Omit<Step, "text" | "numbered">

const step = (
  name: string,
  rows: number,
  args: (key: number) => Array<unknown>,
  tagged: <A>(sql: Tag<A>, args: ReadonlyArray<any>) => A
): Spoken => ({ name, args, tagged, rows })

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
  )
} as const

const sleep = (name: string, tagged: Spoken["tagged"]) => step(name, 1, () => [], tagged)

/** One text, which is short, or late as one that waits for a lock. */
const lasting = (seconds: number, tagged: Spoken["tagged"]) => step("lasting", 1, (key) => [key, seconds], tagged)

const lastingIn = {
  postgresql: (seconds: number) =>
    lasting(seconds, (sql, [id, time]) => sql`select ${id}::int as id, pg_sleep(${time}::float8)`),
  mysql: (seconds: number) => lasting(seconds, (sql, [id, time]) => sql`select ${id} as id, sleep(${time})`)
}

const sleeping = {
  postgresql: {
    prompt: lastingIn.postgresql(0),
    late: lastingIn.postgresql(0.25),
    slow: sleep("slow", (sql) => sql`select pg_sleep(0.1)`),
    slowish: sleep("slowish", (sql) => sql`select pg_sleep(0.02)`)
  },
  mysql: {
    prompt: lastingIn.mysql(0),
    late: lastingIn.mysql(0.25),
    slow: sleep("slow", (sql) => sql`select sleep(0.1)`),
    slowish: sleep("slowish", (sql) => sql`select sleep(0.02)`)
  }
} as const

type Name = keyof typeof steps | keyof typeof sleeping.postgresql

interface Plan {
  readonly shape: Workload["shape"]
  readonly steps: readonly [Name, ...Array<Name>]
  readonly slowEvery?: number
  /** Default `slow`. */
  readonly slow?: Name
}

const plans = {
  point: { shape: "one", steps: ["point"] },
  ten: { shape: "one", steps: ["ten"] },
  thousand: { shape: "one", steps: ["thousand"] },
  megabyte: { shape: "one", steps: ["megabyte"] },
  insert: { shape: "one", steps: ["insert"] },
  transaction: { shape: "transaction", steps: ["balance", "deposit", "insert"] },
  pinned: { shape: "pinned", steps: ["point", "point", "point"] },
  mix: { shape: "one", steps: ["point"], slowEvery: 100 },
  slowish: { shape: "one", steps: ["slowish"] },
  late: { shape: "one", steps: ["prompt"], slowEvery: 1_000, slow: "late" }
} as const satisfies Record<string, Plan>

export interface Workload {
  /** `one` statement by itself, or several one after another on one connection, or in a transaction. */
  readonly shape: "one" | "pinned" | "transaction"
  readonly steps: readonly [Step, ...Array<Step>]
  /** Every so many operations one is `slow` instead, and not part of the latencies. 0: none. */
  readonly slowEvery: number
  readonly slow: Step
}

export const workloadOf = ({ dialect, workload }: Pick<SqlSettings, "dialect" | "workload">): Workload => {
  const spoken = { ...steps, ...sleeping[dialect] }
  const written = (name: Name): Step => {
    const found: Spoken = spoken[name]
    const args = found.args(1)
    return { ...found, text: found.tagged(plain[dialect], args), numbered: found.tagged(numbered, args) }
  }
  const {
    shape,
    steps: [first, ...rest],
    slowEvery = 0,
    slow = "slow"
  }: Plan = plans[workload]
  return { shape, steps: [written(first), ...rest.map(written)], slowEvery, slow: written(slow) }
}

export interface SqlSettings {
  readonly dialect: Dialect
  readonly url: string
  /** Connections that the subject may open. */
  readonly connections: number
  /** Callers that work at the same time, each with one operation after another. */
  readonly callers: number
  readonly workload: keyof typeof plans
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
