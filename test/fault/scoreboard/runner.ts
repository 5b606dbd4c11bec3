/** Runs scenarios on subjects, one after the other, and gives a cell for each. A run that hangs ends nevertheless. */
import { Cause, Context, Effect, Exit, Layer, Logger, LogLevel, Option, Scope } from "effect"
import { unique } from "../../../packages/sql/test/support/eventually.js"
import { type Database, databases } from "../../contract/databases.js"
import { type Cluster, clusters, Server } from "../clusters.js"
import { type Numbers, type Place, type Rig, reasonNotToRun, type Scenario, type Subject, titleOf } from "./model.js"

/** What the runs of one scenario on one subject have given. */
export interface Cell {
  readonly scenario: string
  readonly place: Place
  readonly subject: string
  readonly runs: ReadonlyArray<Numbers>
  /** For each run that gave no numbers, why. */
  readonly failures: ReadonlyArray<string>
  /** Errors that nobody could catch, in all runs together: each would end a program that does not expect it. */
  readonly uncaught: number
}

export interface Plan {
  readonly scenarios: ReadonlyArray<Scenario>
  readonly places: ReadonlyArray<Place>
  readonly subjects: ReadonlyArray<Subject>
  readonly runs: number
  readonly progress: (line: string) => void
  /** A cell is complete. */
  readonly done: (cell: Cell) => void
}

/** Errors that nobody has caught since the last look. A program that does not listen ends with the first. */
let uncaught: Array<unknown> = []

const note = (error: unknown) => {
  uncaught.push(error)
}

/** From now on they are counted, and end nothing: the clients of others raise some. */
export const countUncaught = (): void => {
  process.on("uncaughtException", note).on("unhandledRejection", note)
}

const takeUncaught = (): number => {
  const all = uncaught
  uncaught = []
  return all.length
}

/** Seconds for closing what a run has opened. */
const CLOSING = 5

const describe = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return (error instanceof Error ? `${error.name}: ${error.message}` : String(error)).split("\n")[0]!.slice(0, 300)
}

/** What one run of this subject has. */
export const rigOf = (subject: Subject, cluster: Cluster): Rig => {
  const name = unique("fault")
  const { database, primary } = cluster
  return {
    subject,
    database,
    cluster,
    name,
    sleep: databases[database].words.sleep,
    open: ({ room, ...options } = {}) =>
      Effect.flatMap(cluster.login(name, room), (user) =>
        subject.open({ database, name, user, at: primary, ...options })
      )
  }
}

/** One run in a scope of its own, whose closing is bounded too. */
const measure = (scenario: Scenario, rig: Rig): Effect.Effect<Numbers, unknown> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const exit = yield* scenario.run(rig).pipe(
      Scope.extend(scope),
      // What ours says is not what is measured.
      Logger.withMinimumLogLevel(LogLevel.None),
      Effect.disconnect,
      Effect.timeoutFail({
        duration: `${scenario.patience} seconds`,
        onTimeout: () => new Error(`the run hangs: not done within ${scenario.patience} s`)
      }),
      Effect.exit
    )
    yield* Effect.ignore(Effect.timeout(Effect.disconnect(Scope.close(scope, exit)), `${CLOSING} seconds`))
    return yield* exit
  })

/** The scenario of a clock that is moved needs no server. */
const noCluster = new Proxy({} as Cluster, {
  get: (_, key) => (key === "database" ? "postgresql" : undefined)
})

const clusterOf = (place: Place, scenario: Scenario): Effect.Effect<Cluster, unknown, Scope.Scope> =>
  place === "virtual"
    ? Effect.succeed(noCluster)
    : Effect.map(Layer.build(clusters[place as Database](scenario.replicas ?? 0)), Context.get(Server))

/** Everything of one scenario in one place. Rounds are interleaved, so that what disturbs the machine disturbs all. */
const runScenario = (plan: Plan, scenario: Scenario, place: Place): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    const subjects = plan.subjects.filter((subject) => reasonNotToRun(scenario, subject, place) === undefined)
    if (subjects.length === 0) return
    const cells = subjects.map((subject) => ({
      subject,
      runs: [] as Array<Numbers>,
      failures: [] as Array<string>,
      uncaught: 0
    }))
    const shared = scenario.isFresh === true ? undefined : yield* clusterOf(place, scenario)
    for (let run = 1; run <= plan.runs; run++) {
      for (const cell of cells) {
        const began = performance.now()
        takeUncaught()
        const exit = yield* Effect.exit(
          Effect.scoped(
            Effect.gen(function* () {
              const cluster = shared ?? (yield* clusterOf(place, scenario))
              const rig = rigOf(cell.subject, cluster)
              const numbers = yield* Effect.exit(measure(scenario, rig))
              if (place !== "virtual") yield* Effect.ignore(Effect.timeout(cluster.end(rig.name), "10 seconds"))
              return yield* numbers
            })
          )
        )
        cell.uncaught += takeUncaught()
        if (Exit.isSuccess(exit)) cell.runs.push(exit.value)
        else cell.failures.push(describe(exit.cause))
        const seconds = ((performance.now() - began) / 1_000).toFixed(1)
        const story = Exit.isSuccess(exit) ? "" : `: ${describe(exit.cause)}`
        plan.progress(
          `${titleOf(scenario)}, ${place}, ${cell.subject.name}: run ${run} of ${plan.runs}, ${seconds} s${story}`
        )
      }
    }
    for (const { failures, runs, subject, uncaught } of cells) {
      plan.done({ scenario: titleOf(scenario), place, subject: subject.name, runs, failures, uncaught })
    }
  }).pipe(Effect.scoped)

/** Runs all that a plan asks for. A place whose server cannot be started is reported, and the others go on. */
export const runPlan = (plan: Plan): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const troubles: Array<string> = []
    for (const scenario of plan.scenarios) {
      for (const place of scenario.places) {
        if (!plan.places.includes(place)) continue
        const exit = yield* Effect.exit(runScenario(plan, scenario, place))
        if (Exit.isFailure(exit)) {
          const interrupted = Option.isSome(Cause.interruptOption(exit.cause)) && Cause.isInterruptedOnly(exit.cause)
          if (interrupted) return yield* Effect.interrupt
          troubles.push(`${titleOf(scenario)}, ${place}: ${describe(exit.cause)}`)
          plan.progress(troubles.at(-1)!)
        }
      }
    }
    return troubles
  })
