/** `sluice plan`: from files and flags to a text and an exit code. */
import { FileSystem } from "@effect/platform"
import { Console, Effect } from "effect"
import * as Plan from "../Plan.js"
import { BadUsage, type PlanError } from "../PlanError.js"
import type { PlanReport } from "../PlanReport.js"
import * as Exit from "./exit.js"
import { adr, checklist } from "./format/documents.js"
import { annotation, github } from "./format/github.js"
import { markdown } from "./format/markdown.js"
import { sarif } from "./format/sarif.js"
import { text } from "./format/text.js"
import { find, STDIN } from "./source/files.js"
import { type Asked, flagsOf } from "./source/flags.js"
import { gather } from "./source/gather.js"
import { version } from "./version.js"

export const formats = ["text", "json", "markdown", "github", "sarif"] as const

/** What is printed instead of the plan: both are Markdown. */
export const documents = ["checklist", "adr"] as const

export interface Settings extends Asked {
  readonly files: ReadonlyArray<string>
  readonly format: (typeof formats)[number]
  readonly document: (typeof documents)[number] | undefined
  readonly explain: boolean
}

const printed = (plan: PlanReport, { document, explain, format }: Settings): string => {
  if (document !== undefined) return document === "adr" ? adr(plan) : checklist(plan)
  if (format === "json") return JSON.stringify(plan, undefined, 2)
  if (format === "markdown") return markdown(plan, explain)
  if (format === "github") return github(plan)
  return format === "sarif" ? sarif(plan, version()) : text(plan, explain)
}

/** Read if nothing is said of what runs. */
const CONFIG = "sluice.yaml"

const filesOf = ({ files, pods, processes }: Settings) =>
  Effect.gen(function* () {
    // The parser of the command line takes an option that does not exist for the name of a file.
    const option = files.find((file) => /^-./.test(file))
    if (option !== undefined) {
      const order = files.includes(STDIN) ? `, or "${STDIN}" stands before it and not after all options` : ""
      return yield* new BadUsage({ problem: `${option} is no option: see sluice plan --help${order}` })
    }
    if (files.length > 0 || pods !== undefined || processes !== undefined) return files
    const { exists } = yield* FileSystem.FileSystem
    return (yield* Effect.orElseSucceed(exists(CONFIG), () => false)) ? [CONFIG] : []
  })

const planOf = (settings: Settings) =>
  Effect.gen(function* () {
    const flags = yield* flagsOf(settings)
    const { input, notes, sources } = yield* gather(yield* find(yield* filesOf(settings)), flags)
    return Plan.plan(input, { notes, sources })
  })

/** In the format of GitHub a file that cannot be planned is marked at its line as well. */
const refused = (error: PlanError, { format }: Settings): Effect.Effect<void> => {
  const lines = error.message.split("\n").map((line) => `sluice plan: ${line}`)
  const told = Console.error(lines.join("\n"))
  if (format !== "github" || !("line" in error)) return told
  const { file, line, problem } = error
  const reason = { level: "error", code: "bad-file", message: problem, source: { file, line } } as const
  return Effect.zipRight(Console.log(annotation(reason)), told)
}

export const plan = (settings: Settings) =>
  Effect.gen(function* () {
    const made = yield* planOf(settings).pipe(
      Effect.catchAll((error) => Effect.zipRight(refused(error, settings), new Exit.Failed({ code: error.exitCode })))
    )
    yield* Console.log(printed(made, settings))
    const code = Plan.exitCode(made)
    if (code !== 0) return yield* new Exit.Failed({ code })
  })
