/**
 * The reports of many processes, each asked once a second for its `/stats.json`: what a board over many pods draws.
 *
 * @since 0.2.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as OptionTable from "@sluice/pool/OptionTable"
import { Data, Duration, Effect, Redacted, type Scope } from "effect"
import * as Addresses from "./internal/pods/addresses.js"
import * as Running from "./internal/pods/pods.js"
import type { Report } from "./Report.js"

/**
 * Where the processes are, and how they are asked.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /**
   * The address of the `/stats.json` of each process, or the one below which that is, such as `pod-1:9400/sluice`. A name with several
   * addresses, such as that of a headless service of Kubernetes, stands for one process at each of them; what it stands for is looked
   * up every 10 seconds. With `https` a name stands for one process, because its certificate has that name.
   *
   * - At least one. Of more than 1,000 processes the first 1,000 are asked.
   */
  readonly urls: ReadonlyArray<string>
  /** Is sent to each of them as `Authorization: Bearer`. Default none: then only processes of the same machine answer. */
  readonly token?: Redacted.Redacted | undefined
  /**
   * How often each is asked.
   *
   * - Unit: duration. Default 1 second. Range 100 milliseconds to 1 hour.
   */
  readonly every?: Duration.DurationInput | undefined
  /**
   * How long an answer is awaited.
   *
   * - Unit: duration. Default 2 seconds. Range 10 milliseconds to 1 minute.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * One process.
 *
 * @since 0.2.0
 * @category models
 */
export interface Pod {
  /** Where it is asked. */
  readonly url: string
  /** The last report that it has given. */
  readonly report: Report | undefined
  /** Milliseconds since then. */
  readonly ageMs: number
  /** Why the last question had no answer. `undefined`: it had one, or was not asked yet. */
  readonly error: string | undefined
}

/**
 * All processes at one moment.
 *
 * @since 0.2.0
 * @category models
 */
export interface Fleet {
  /** Of those that answer. */
  readonly reports: ReadonlyArray<Report>
  /** The names of those that do not, or their addresses if they never have. */
  readonly silent: ReadonlyArray<string>
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Service {
  /** Each process, with its last report. Waits for nothing. */
  readonly all: Effect.Effect<ReadonlyArray<Pod>>
  /** What a board draws: the reports that are not older than a few seconds, and who is silent. Waits for nothing. */
  readonly fleet: Effect.Effect<Fleet>
}

/**
 * Options that cannot work. Lists every problem, not the first.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidOptions extends Data.TaggedError("InvalidOptions")<{ readonly problems: ReadonlyArray<string> }> {
  override get message(): string {
    return `pods: ${this.problems.join("; ")}`
  }
}

const within = (least: number, most: number, words: string): OptionTable.Check =>
  OptionTable.that(words, (value) => {
    const millis = OptionTable.millisOf(value)
    return millis !== undefined && millis >= least && millis <= most
  })

const table: OptionTable.Table<Options> = {
  urls: (value, path) =>
    Array.isArray(value) && value.length === 0
      ? [`${path} is empty: name at least one process`]
      : OptionTable.listOf(
          OptionTable.that(
            "an address such as http://pod-1:9400/sluice",
            (url) => typeof url === "string" && Addresses.statsUrl(url) !== undefined
          )
        )(value, path),
  token: OptionTable.that('Redacted.make("…")', Redacted.isRedacted),
  every: within(100, 3_600_000, "a duration from 100 milliseconds to 1 hour"),
  timeout: within(10, 60_000, "a duration from 10 milliseconds to 1 minute")
}

/** Questions that may stay without an answer before a process counts as silent: one may be lost in a busy moment. */
const LOST = 3

/**
 * Asks the processes until the scope closes, as long as somebody looks: after 10 seconds without a look nobody is asked any more.
 *
 * **When to use:** for one board over all pods of a program.
 *
 * - Fails with `InvalidOptions`, which lists every problem.
 * - To each process there is one question at a time, so that one that is slow gets no second one, and keeps nobody else waiting.
 * - An answer that is no report, or is too long, counts as none: see `StatsJson`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Service, InvalidOptions, HttpClient.HttpClient | Scope.Scope> =>
  Effect.gen(function* () {
    const problems = OptionTable.problems(options, table)
    if (problems.length > 0) return yield* new InvalidOptions({ problems })
    // A board asks once a second: spans of that would be most of what a program traces.
    const client = HttpClient.withTracerDisabledWhen(yield* HttpClient.HttpClient, () => true)
    const every = Duration.toMillis(options.every ?? "1 second")
    const pods = yield* Running.make(
      {
        urls: options.urls.map((url) => Addresses.statsUrl(url)!),
        token: options.token,
        every,
        timeout: Duration.toMillis(options.timeout ?? "2 seconds")
      },
      client,
      Addresses.system
    )
    return serviceOf(pods, every)
  })

const serviceOf = (pods: () => ReadonlyArray<Pod>, every: number): Service => ({
  all: Effect.sync(pods),
  fleet: Effect.sync(() => {
    const all = pods()
    const isSilent = ({ ageMs, error, report }: Pod): boolean =>
      error !== undefined && (report === undefined || ageMs > LOST * every)
    return {
      reports: all.flatMap((pod) => (pod.report === undefined || isSilent(pod) ? [] : [pod.report])),
      silent: all.filter(isSilent).map(({ report, url }) => report?.pod ?? url)
    }
  })
})
