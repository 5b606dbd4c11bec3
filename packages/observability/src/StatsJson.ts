/**
 * Reports as text: what `/stats.json` answers, and what boards read of other processes.
 *
 * @since 0.2.0
 */
import { Data, Either, ParseResult, Schema } from "effect"
import { schema } from "./internal/reportSchema.js"
import type { Report } from "./Report.js"

/**
 * A text that is no report. Boards go on without the process that has sent it.
 *
 * - `size`: it is longer than `longest`.
 * - `json`: it is no JSON.
 * - `version`: it is the report of another version of this library.
 * - `shape`: something in it is missing, or is not what it must be.
 *
 * @since 0.2.0
 * @category errors
 */
export class NoReport extends Data.TaggedError("NoReport")<{
  readonly reason: "size" | "json" | "version" | "shape"
  readonly problem: string
}> {
  override get message(): string {
    return `no report: ${this.problem}`
  }
}

/**
 * Characters that a report has at most: more than that of a process with a hundred pools. A longer text is not read, so that no process
 * can fill the memory of a board.
 *
 * @since 0.2.0
 * @category constants
 */
export const longest = 4_000_000

/**
 * The report as one line of JSON. What is `undefined` is left out.
 *
 * @since 0.2.0
 * @category conversions
 */
export const encode = (report: Report): string => JSON.stringify(report)

const parse = Schema.decodeUnknownEither(schema)

const LONGEST_PROBLEM = 300

const refuse = (reason: NoReport["reason"], problem: string) =>
  Either.left(new NoReport({ reason, problem: problem.replaceAll(/\s+/g, " ").slice(0, LONGEST_PROBLEM) }))

/**
 * The report in a text that another process has sent.
 *
 * **When to use:** for a board of your own over many processes.
 *
 * - Gives `NoReport` for whatever is none. What is in it besides a report is left out.
 *
 * @see `Pods` asks many processes.
 * @since 0.2.0
 * @category conversions
 */
export const decode = (text: string): Either.Either<Report, NoReport> => {
  if (text.length > longest) return refuse("size", `it has more than ${longest} characters`)
  const json = Either.try(() => JSON.parse(text) as unknown)
  if (Either.isLeft(json)) return refuse("json", "it is no JSON")
  const { right: value } = json
  const version = typeof value === "object" && value !== null && "version" in value ? value.version : undefined
  if (typeof version === "number" && version !== 1) {
    return refuse(
      "version",
      `it is of version ${version}, and this board reads version 1: use the same version of Sluice`
    )
  }
  return Either.match(parse(value), {
    onLeft: (error) => {
      const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
      return refuse(
        "shape",
        issue === undefined
          ? "it is something else"
          : `${issue.path.map(String).join(".") || "all of it"}: ${issue.message}`
      )
    },
    onRight: (report) => Either.right(report)
  })
}
