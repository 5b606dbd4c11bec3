/** What the flags of `sluice plan` say, checked like everything else that comes from outside. */
import { Either, Schema } from "effect"
import { BadUsage, InvalidInput } from "../../PlanError.js"
import { Database, parse } from "../../PlanInput.js"
import { ServiceDraft } from "./config.js"
import { defined } from "./draft.js"
import type { Flags } from "./gather.js"

/** The flags as they were given. */
export interface Asked {
  readonly maxConnections: number | undefined
  readonly system: "postgresql" | "mysql" | undefined
  readonly superuserReserved: number | undefined
  readonly reservedConnections: number | undefined
  readonly reserve: string | undefined
  readonly other: ReadonlyArray<string>
  readonly cores: number | undefined
  readonly pods: number | undefined
  readonly workers: number | undefined
  readonly processes: number | undefined
  readonly strategy: "rolling" | "recreate" | undefined
  readonly surge: string | undefined
  readonly unavailable: string | undefined
  readonly terminating: "none" | "wave" | "together" | "full" | undefined
  readonly maxSize: number | undefined
  readonly extra: ReadonlyArray<string>
  readonly extraPool: ReadonlyArray<string>
  readonly rps: number | undefined
  readonly holdMs: number | undefined
  readonly role: string | undefined
  readonly ignore: ReadonlyArray<string>
}

/** `5` is a number of pods, `5%` a share of them; whatever else it is, the schema refuses it. */
const share = (text: string | undefined): number | string | undefined =>
  text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : text

/** `name=10`, or `name=10/pod` where that is allowed. */
const named = (flag: string, text: string): Either.Either<readonly [string, number], BadUsage> => {
  const [, name, number] = /^([^=]+)=(\d{1,9})$/.exec(text) ?? []
  return name === undefined
    ? Either.left(
        new BadUsage({ problem: `${flag} ${text}: it is written NAME=NUMBER, for example ${flag} reporting=10` })
      )
    : Either.right([name, Number(number)])
}

const pool = (text: string) => {
  const isForPod = text.endsWith("/pod")
  return Either.map(named("--extra-pool", isForPod ? text.slice(0, -"/pod".length) : text), ([name, maxSize]) => ({
    name,
    maxSize,
    each: isForPod ? ("pod" as const) : ("process" as const)
  }))
}

/** The flag that says the option. */
const flagOf: Readonly<Record<string, string>> = {
  maxConnections: "--max-connections",
  superuserReserved: "--superuser-reserved",
  reservedConnections: "--reserved-connections",
  reserve: "--reserve",
  others: "--other",
  cores: "--cores",
  processes: "--workers",
  maxSize: "--max-size",
  extras: "--extra",
  pools: "--extra-pool",
  requestsPerSecond: "--rps",
  holdMs: "--hold-ms"
}

const checked = <A, I>(schema: Schema.Schema<A, I>, given: object): Either.Either<A, InvalidInput> =>
  Either.mapLeft(parse(schema, defined(given)), (problems) => {
    const told = problems.map(
      ({ path: [option], problem }) => `${flagOf[String(option)] ?? `--${String(option)}`} ${problem}`
    )
    return new InvalidInput({ problems: told })
  })

const ifAny = <A>(list: ReadonlyArray<A>): ReadonlyArray<A> | undefined => (list.length === 0 ? undefined : list)

/** Plain processes are stopped before they are started again, so there are never more of them. */
const plainProcesses = ({ pods, processes, strategy, workers }: Asked) => {
  if (processes === undefined) return Either.right({ pods, processes: workers, strategy })
  const more = pods !== undefined ? "--pods" : workers !== undefined ? "--workers" : undefined
  if (more === undefined)
    return Either.right({ pods: processes, processes: 1, strategy: strategy ?? ("recreate" as const) })
  const problem = `--processes and ${more} contradict each other: --processes is for processes without pods`
  return Either.left(new BadUsage({ problem }))
}

export const flagsOf = (asked: Asked): Either.Either<Flags, BadUsage | InvalidInput> =>
  Either.gen(function* () {
    const {
      cores,
      holdMs,
      maxConnections,
      maxSize,
      reservedConnections,
      role,
      superuserReserved,
      system,
      terminating
    } = asked
    const others = ifAny(yield* Either.all(asked.other.map((text) => named("--other", text))))
    const extras = ifAny(yield* Either.all(asked.extra.map((text) => named("--extra", text))))
    const pools = ifAny(yield* Either.all(asked.extraPool.map(pool)))
    return {
      database: yield* checked(Schema.partialWith(Database, { exact: true }), {
        maxConnections,
        system,
        superuserReserved,
        reservedConnections,
        reserve: share(asked.reserve),
        others: others && Object.fromEntries(others),
        cores
      }),
      service: yield* checked(ServiceDraft, {
        ...(yield* plainProcesses(asked)),
        surge: share(asked.surge),
        unavailable: share(asked.unavailable),
        terminating,
        maxSize,
        extras: extras && Object.fromEntries(extras),
        pools,
        requestsPerSecond: asked.rps,
        holdMs,
        role
      }),
      ignored: asked.ignore
    }
  })
