/** Makes one input of a plan of files and flags. Flags hold for every service, then `sluice.yaml`, then the deployment files. */
import { OptionTable } from "@sluice/pool"
import { Either, type Schema } from "effect"
import { BadFile, BadUsage, type InvalidInput } from "../../PlanError.js"
import { type Database, decode, type PlanInput } from "../../PlanInput.js"
import type { Reason, Source } from "../../PlanReport.js"
import type { ServiceDraft, Settings } from "./config.js"
import { type Draft, note } from "./draft.js"
import type { Found } from "./files.js"

/** What flags say. */
export interface Flags {
  readonly database: Partial<Database>
  readonly service: Schema.Schema.Type<typeof ServiceDraft>
  readonly ignored: ReadonlyArray<string>
}

export interface Gathered {
  readonly input: PlanInput
  readonly sources: Readonly<Record<string, Source>>
  readonly notes: ReadonlyArray<Reason>
}

/** The service that flags alone describe. */
const ALONE = "app"

/** What `sluice.yaml` says is added to what a deployment file says; where that declared the service stays. */
const merge = ({ drafts, settings }: Found): Either.Either<ReadonlyMap<string, Draft>, BadFile> =>
  Either.gen(function* () {
    const merged = new Map<string, Draft>()
    for (const draft of drafts) {
      const { name } = draft.service
      const same = merged.get(name)?.source
      if (same !== undefined) {
        const problem = `a service ${JSON.stringify(name)} is there already: ${same.file}:${same.line}`
        return yield* Either.left(new BadFile({ ...draft.source, problem }))
      }
      merged.set(name, draft)
    }
    for (const draft of settings.flatMap((one) => one.drafts)) {
      const { name } = draft.service
      const first = merged.get(name)
      // Whoever names a service says that it uses the database.
      const both = { ...first?.service, ...draft.service }
      merged.set(name, first === undefined ? draft : { ...first, service: both, noClient: undefined })
    }
    return merged
  })

/** Names that are to be ignored and do not exist: a typo would count a service that somebody wanted out. */
const unknown = (ignored: ReadonlyArray<string>, names: ReadonlyArray<string>): Either.Either<void, BadUsage> => {
  const name = ignored.find((one) => !names.includes(one))
  if (name === undefined) return Either.void
  const meant = OptionTable.nearest(name, names)
  const remedy =
    meant === undefined ? `there are ${names.join(", ") || "none"}` : `did you mean ${JSON.stringify(meant)}?`
  return Either.left(new BadUsage({ problem: `--ignore ${name}: no service has this name: ${remedy}` }))
}

const NOTHING =
  "there is nothing to plan: give deployment files or a sluice.yaml, or say what runs, for example --pods 20 --workers 4, or --processes 2"

const onlyFlags = ({ service }: Flags): ReadonlyArray<Draft> =>
  service.pods === undefined ? [] : [{ service: { name: ALONE }, source: { file: "", line: 0 } }]

const podless = ({
  service,
  source,
  unknownPods = 'it does not say how many pods there are: say it with "pods"'
}: Draft) => new BadFile({ ...source, problem: `${service.name}: ${unknownPods}` })

export const gather = (found: Found, flags: Flags): Either.Either<Gathered, BadUsage | BadFile | InvalidInput> =>
  Either.gen(function* () {
    const { settings } = found
    const all = yield* merge(found)
    yield* unknown(flags.ignored, [...all.keys()])
    const ignored = new Set([...flags.ignored, ...settings.flatMap((one: Settings) => one.ignored)])
    const wanted = [...all.values()].filter(
      ({ noClient, service }) => noClient === undefined && !ignored.has(service.name)
    )
    const skipped = [...all.values()].filter(
      ({ noClient, service }) => noClient !== undefined && !ignored.has(service.name)
    )
    const planned = all.size === 0 ? onlyFlags(flags) : wanted
    if (planned.length === 0) return yield* Either.left(new BadUsage({ problem: NOTHING }))
    if (planned.length > 1 && flags.service.pods !== undefined) {
      const problem = `--pods and --processes say how many pods one service has, and there are ${planned.length}: say it in sluice.yaml`
      return yield* Either.left(new BadUsage({ problem }))
    }
    const services = planned.map((draft) => ({ ...draft, service: { ...draft.service, ...flags.service } }))
    const resting = services.filter(({ service }) => service.pods === 0)
    const running = services.filter(({ service }) => service.pods !== 0)
    const without = running.find(({ service }) => service.pods === undefined)
    if (without !== undefined) return yield* Either.left(podless(without))
    const database = Object.assign({}, ...settings.map((one) => one.database), flags.database)
    if (database.maxConnections === undefined) {
      const problem =
        "--max-connections is missing: the server tells it (show max_connections; MySQL: select @@max_connections)"
      return yield* Either.left(new BadUsage({ problem }))
    }
    const input = yield* decode({ database, services: running.map(({ service }) => service) })
    return {
      input,
      sources: Object.fromEntries(
        running.filter(({ source }) => source.file !== "").map(({ service, source }) => [service.name, source])
      ),
      notes: [
        ...found.notes,
        ...skipped.map(({ noClient, service, source }) =>
          note(`${service.name} is not counted: ${noClient}. Name it in sluice.yaml if it uses the database`, source)
        ),
        ...resting.map(({ service, source }) => note(`${service.name} is not counted: it has 0 pods`, source))
      ]
    }
  })
