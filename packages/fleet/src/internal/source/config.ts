/**
 * `sluice.yaml`: the database, and what deployment files do not say of the services that share it.
 *
 * ```yaml
 * database:
 *   maxConnections: 500
 * services:
 *   web: { processes: 4, requestsPerSecond: 100, holdMs: 20 }
 *   frontend: { ignore: true }
 * ```
 */
import { Either, Schema } from "effect"
import { BadConfig } from "../../PlanError.js"
import { Database, isStuck, parse, Service, STUCK, shownPath } from "../../PlanInput.js"
import type { Draft } from "./draft.js"
import type { Said } from "./yaml.js"

const DatabaseDraft = Schema.partialWith(Database, { exact: true })

const { name: _, pods, ...said } = Service.fields

/** Everything may be missing: files and flags may say it. */
export const ServiceDraft = Schema.Struct({ ...said, pods: Schema.optionalWith(pods, { exact: true }) })

const Config = Schema.Struct({
  database: Schema.optionalWith(DatabaseDraft, { exact: true }),
  services: Schema.optionalWith(
    Schema.Record({
      key: Schema.String,
      value: Schema.Struct({ ...ServiceDraft.fields, ignore: Schema.optionalWith(Schema.Boolean, { exact: true }) })
    }),
    { exact: true }
  )
})

export interface Settings {
  readonly database: typeof DatabaseDraft.Type
  readonly drafts: ReadonlyArray<Draft>
  readonly ignored: ReadonlyArray<string>
}

export const isConfigName = (file: string): boolean => /(?:^|[\\/])sluice\.ya?ml$/.test(file)

/** Compose files have services as well, and no database beside them. */
export const isConfig = ({ file, value }: Said): boolean =>
  isConfigName(file) || (typeof value === "object" && value !== null && "database" in value)

export const config = ({ file, lineOf, value }: Said): Either.Either<Settings, BadConfig> =>
  Either.gen(function* () {
    const bad = (path: ReadonlyArray<PropertyKey>, problem: string) => {
      const line = lineOf(path.map((part) => (typeof part === "number" ? part : String(part))))
      return Either.left(new BadConfig({ file, line, problem: `${shownPath(path)} ${problem}` }))
    }
    const parsed = parse(Config, value)
    if (Either.isLeft(parsed)) return yield* bad(parsed.left[0]!.path, parsed.left[0]!.problem)
    const { database = {}, services = {} } = parsed.right
    const stuck = Object.keys(services).find((name) => isStuck(services[name]!))
    if (stuck !== undefined) return yield* bad(["services", stuck], `has surge 0 and unavailable 0: ${STUCK}`)
    return {
      database,
      drafts: Object.entries(services).map(([name, { ignore: _, ...service }]) => ({
        service: { name, ...service },
        source: { file, line: lineOf(["services", name]) }
      })),
      ignored: Object.keys(services).filter((name) => services[name]?.ignore === true)
    }
  })
