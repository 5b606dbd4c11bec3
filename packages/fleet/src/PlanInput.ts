/**
 * What a plan is made of: the limits of one database, and the services that share it.
 *
 * | option | unit | default | range |
 * | --- | --- | --- | --- |
 * | `database.system` | | `postgresql` | `postgresql`, `mysql` (also MariaDB) |
 * | `database.maxConnections` | connections | required | 1 to 262,143 |
 * | `database.superuserReserved` | connections | 3 for PostgreSQL, 0 for MySQL | 0 to 262,143 |
 * | `database.reservedConnections` | connections | 0 | 0 to 262,143 |
 * | `database.reserve` | connections, or a percentage of `maxConnections` | `3%` | 0 to 262,143; a percentage gives at least 5 |
 * | `database.others` | connections, by name | none | 0 to 262,143 each |
 * | `database.cores` | cores | unknown | 1 to 4,096 |
 * | `service.pods` | pods | required | 1 to 100,000 |
 * | `service.processes` | processes in each pod | 1 | 1 to 1,024 |
 * | `service.strategy` | | `rolling` | `rolling`, `recreate` |
 * | `service.surge`, `service.unavailable` | pods, or a percentage | `25%` | 0 to 100,000; 0 % to 100 %; not both 0 |
 * | `service.terminating` | | `wave` | `none`, `wave`, `together`, `full` |
 * | `service.extras` | connections in each process, by purpose | none | 0 to 10,000 each |
 * | `service.pools` | further pools of each process or pod | none | `maxSize` 1 to 10,000 |
 * | `service.weight` | | 1 | 1 to 100 |
 * | `service.maxSize` | connections | to be recommended | 1 to 10,000 |
 * | `service.requestsPerSecond` | requests that use the database, for each process and second | unknown | above 0, to 1,000,000 |
 * | `service.holdMs` | milliseconds for which a request holds its connection, 95th percentile | unknown | above 0, to 3,600,000 |
 * | `service.role` | the database role that it connects as | unknown | |
 *
 * @since 0.2.0
 */
import { OptionTable } from "@sluice/pool"
import { Either, ParseResult, Schema, type SchemaAST } from "effect"
import { InvalidInput } from "./PlanError.js"

/** Says what a value must be in one sentence, whatever the parts of its schema are. */
const must =
  (what: string) =>
  <A, I>(schema: Schema.Schema<A, I>): Schema.Schema<A, I> =>
    schema.annotations({
      message: ({ actual }) => ({ message: `must be ${what}, and is ${OptionTable.shown(actual)}`, override: true })
    })

const between = (least: number, most: number) =>
  Schema.Int.pipe(Schema.between(least, most), must(`a whole number from ${least} to ${most}`))
const connections = between(0, 262_143)
const positive = (most: number) =>
  Schema.Number.pipe(Schema.greaterThan(0), Schema.lessThanOrEqualTo(most), must(`a number above 0, at most ${most}`))
const oneOf = <const Words extends ReadonlyArray<string>>(...words: Words) =>
  Schema.Literal(...words).pipe(must(`one of ${words.join(", ")}`))
const text = Schema.NonEmptyString.pipe(Schema.maxLength(253), must("a text of 1 to 253 characters"))
const given = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

/**
 * A number of pods or connections, or a percentage such as `"25%"`.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Share = Schema.Union(
  Schema.Int.pipe(Schema.between(0, 262_143)),
  Schema.String.pipe(Schema.pattern(/^(?:100(?:\.0{1,2})?|\d{1,2}(?:\.\d{1,2})?)%$/))
).pipe(must('a whole number from 0 to 262143, or a percentage from "0%" to "100%"'))

/**
 * The server that all the services share.
 *
 * - `superuserReserved`, `reservedConnections`: the settings `superuser_reserved_connections` and `reserved_connections` of PostgreSQL.
 * - `reserve`: how many connections of all are kept from the services, for operators, migrations and monitoring. What the server
 *   itself reserves counts as a part of it.
 * - `others`: consumers that are not planned here, such as a reporting tool.
 * - `cores`: of the server; says when more connections only make it slower.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Database = Schema.Struct({
  system: given(oneOf("postgresql", "mysql")),
  maxConnections: between(1, 262_143),
  superuserReserved: given(connections),
  reservedConnections: given(connections),
  reserve: given(Share),
  others: given(Schema.Record({ key: Schema.String, value: connections })),
  cores: given(between(1, 4096))
})

/**
 * @since 0.2.0
 * @category models
 */
export type Database = typeof Database.Type

/**
 * A pool beside the one that is planned: its size is given.
 *
 * - `each`: whether each process has one, or each pod. Default `process`.
 *
 * @since 0.2.0
 * @category schemas
 */
export const ExtraPool = Schema.Struct({
  name: text,
  maxSize: between(1, 10_000),
  each: given(oneOf("process", "pod"))
})

/**
 * @since 0.2.0
 * @category models
 */
export type ExtraPool = typeof ExtraPool.Type

/**
 * What terminates while new pods already have connections:
 *
 * - `none`: an old pod has closed its connections before the pod that takes its place opens any.
 * - `wave`: new pods become ready one after the other, and an old pod has ended before the next new one is ready.
 * - `together`: the same, but all new pods may become ready in the same moment, so that as many old ones terminate at once.
 * - `full`: old pods terminate for so long that all of them may still be there when all new ones are.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Terminating = oneOf("none", "wave", "together", "full")

/**
 * @since 0.2.0
 * @category models
 */
export type Terminating = typeof Terminating.Type

/**
 * A program that runs in several processes and has one pool in each.
 *
 * - `pods`: the most that ever run outside of a rollout: the upper bound of an autoscaler, if there is one.
 * - `strategy`: `rolling` starts new pods before old ones have ended; `recreate` ends a pod before its successor starts.
 * - `surge`, `unavailable`: how many pods may be too many, and missing, during a rollout. A percentage of `surge` is rounded up, one of
 *   `unavailable` down, as Kubernetes does.
 * - `extras`: connections that a process holds beside its pools, such as a listener or a cluster runner.
 * - `weight`: how many connections of the pool this service gets for each one of a service of weight 1.
 * - `maxSize`: if it is given it is judged; if not, it is recommended.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Service = Schema.Struct({
  name: text,
  pods: between(1, 100_000),
  processes: given(between(1, 1024)),
  strategy: given(oneOf("rolling", "recreate")),
  surge: given(Share),
  unavailable: given(Share),
  terminating: given(Terminating),
  extras: given(Schema.Record({ key: Schema.String, value: between(0, 10_000) })),
  pools: given(Schema.Array(ExtraPool)),
  weight: given(between(1, 100)),
  maxSize: given(between(1, 10_000)),
  requestsPerSecond: given(positive(1_000_000)),
  holdMs: given(positive(3_600_000)),
  role: given(text)
})

/**
 * @since 0.2.0
 * @category models
 */
export type Service = typeof Service.Type

/**
 * One database and everything that is planned to use it.
 *
 * @since 0.2.0
 * @category schemas
 */
export const PlanInput = Schema.Struct({
  database: Database,
  services: Schema.NonEmptyArray(Service)
})

/**
 * @since 0.2.0
 * @category models
 */
export type PlanInput = typeof PlanInput.Type

const strict: SchemaAST.ParseOptions = { errors: "all", onExcessProperty: "error" }

/** One thing that is wrong, and the path that leads to it. */
interface Problem {
  readonly path: ReadonlyArray<PropertyKey>
  readonly problem: string
}

const fieldsOf = {
  database: Object.keys(Database.fields),
  service: Object.keys(Service.fields),
  pool: Object.keys(ExtraPool.fields),
  input: Object.keys(PlanInput.fields)
}

/** The names that exist beside an unknown one. */
const siblings = (path: ReadonlyArray<PropertyKey>): ReadonlyArray<string> => {
  if (path.includes("pools")) return fieldsOf.pool
  if (path[0] === "database") return fieldsOf.database
  return path[0] === "services" && path.length > 1 ? fieldsOf.service : fieldsOf.input
}

const unknownName = (path: ReadonlyArray<PropertyKey>): string => {
  const names = siblings(path)
  const meant = OptionTable.nearest(String(path.at(-1)), names)
  return meant === undefined
    ? `is no option here: there are ${names.join(", ")}`
    : `is no option here: did you mean ${meant}?`
}

/** Decodes by a schema; every problem has the path that leads to it. */
export const parse = <A, I>(schema: Schema.Schema<A, I>, input: unknown): Either.Either<A, ReadonlyArray<Problem>> =>
  Either.mapLeft(Schema.decodeUnknownEither(schema, strict)(input), (error) =>
    ParseResult.ArrayFormatter.formatErrorSync(error).map((issue) => ({
      path: issue.path,
      problem: plain(issue, input)
    }))
  )

/** In the words of the other messages: the schema library prints whole types. */
const plain = (issue: ParseResult.ArrayFormatterIssue, input: unknown): string => {
  if (issue._tag === "Unexpected") return unknownName(issue.path)
  if (issue._tag !== "Type" || issue.message.startsWith("must be ")) return issue.message
  const must = /^Expected (?:ReadonlyArray|readonly \[)/.test(issue.message) ? "a list" : "an object"
  return `must be ${must}, and is ${OptionTable.shown(valueAt(input, issue.path))}`
}

const valueAt = (input: unknown, path: ReadonlyArray<PropertyKey>): unknown =>
  path.reduce<unknown>((value, key) => (value as Readonly<Record<PropertyKey, unknown>>)[key], input)

const isNone = (share: number | string): boolean => Number.parseFloat(String(share)) === 0

export const STUCK = "a rollout could not begin"

/** A rollout that may neither add a pod nor miss one never begins. */
export const isStuck = ({ surge = "25%", unavailable = "25%" }: Pick<Service, "surge" | "unavailable">): boolean =>
  isNone(surge) && isNone(unavailable)

/** What is wrong with values that are right one by one. */
const contradictions = ({ services }: PlanInput): ReadonlyArray<string> => {
  const names = services.map(({ name }) => name)
  return services.flatMap((service, i) => [
    ...(isStuck(service) ? [`services[${i}].surge and unavailable are both 0: ${STUCK}`] : []),
    ...(names.indexOf(service.name) < i
      ? [`services[${i}].name is ${JSON.stringify(service.name)}, as of another one`]
      : [])
  ])
}

/** `services[0].pods`. */
export const shownPath = (path: ReadonlyArray<PropertyKey>): string =>
  path.length === 0
    ? "the input"
    : path.map((part, i) => (typeof part === "number" ? `[${part}]` : `${i === 0 ? "" : "."}${String(part)}`)).join("")

/**
 * Checks an input that comes from outside.
 *
 * - Fails with `InvalidInput`, which lists every problem with the path that leads to it.
 * - An unknown name is a problem, with the name that was probably meant.
 *
 * @since 0.2.0
 * @category constructors
 */
export const decode = (input: unknown): Either.Either<PlanInput, InvalidInput> =>
  Either.filterOrLeft(
    Either.mapLeft(parse(PlanInput, input), (problems) =>
      problems.map(({ path, problem }) => `${shownPath(path)} ${problem}`)
    ),
    (checked) => contradictions(checked).length === 0,
    contradictions
  ).pipe(Either.mapLeft((problems) => new InvalidInput({ problems })))
