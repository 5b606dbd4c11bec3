import { resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Cause, Effect, Exit, Fiber } from "effect"
import { scenarios } from "./scenarios/index.js"
import { type Place, type Scenario, titleOf } from "./scoreboard/model.js"
import { peers } from "./scoreboard/peers.js"
import { countUncaught } from "./scoreboard/runner.js"
import { runScoreboard } from "./scoreboard/scoreboard.js"
import { sluice } from "./scoreboard/sluice.js"

const subjects = [sluice, ...peers]

const places: Readonly<Record<string, Place>> = { pg: "postgresql", mysql: "mysql", virtual: "virtual" }

const help = `Usage: pnpm faults [options]

Runs the fault scenarios on real servers and writes the scoreboard: who keeps which contract, with numbers.

Scenarios:
${scenarios.map((one) => `  ${titleOf(one).padEnd(18)} ${one.name.slice(0, 100)}${one.name.length > 100 ? "…" : ""}`).join("\n")}

Options:
  --fault F1,F25       only scenarios of these faults; also by their whole names, as above
  --db pg,mysql        only these databases; virtual: the scenarios without a server
  --subject A,B        only these clients: ${subjects.map(({ name }) => name).join(", ")}
  --runs N             runs of each, 1 to 100 (default 5)
  --out FILE           the page, its numbers are beside it (default test/fault/SCOREBOARD.md)
  --page               runs nothing: makes the page anew from its numbers
  --help

Examples:
  pnpm faults
  pnpm faults --fault F1,F25 --db pg
  pnpm faults --subject sluice --runs 1
  pnpm faults --fault F3 --subject pg-pool,postgres.js --out /tmp/try.md

A part of the scenarios replaces its own cells, and leaves the others as they were. Progress goes to stderr, verdicts on ours to
stdout. Exit code 1: a contract does not hold with ours, each named on stderr; 2: not a command this program understands.
`

/** Something only the caller can repair. */
class Usage extends Error {}

const readArguments = () => {
  try {
    // pnpm hands a `--` on.
    return parseArgs({
      args: process.argv.slice(2).filter((argument) => argument !== "--"),
      options: {
        fault: { type: "string" },
        db: { type: "string" },
        subject: { type: "string" },
        runs: { type: "string" },
        out: { type: "string" },
        page: { type: "boolean" },
        help: { type: "boolean", short: "h" }
      }
    }).values
  } catch (error) {
    throw new Usage((error as Error).message)
  }
}

/** What an option has named, each of which must be there. */
const chosen = <A>(
  option: string,
  text: string | undefined,
  all: ReadonlyArray<A>,
  namesOf: (one: A) => ReadonlyArray<string>
) => {
  if (text === undefined) return all
  const names = text.split(",").map((part) => part.trim().toLowerCase())
  const known = [...new Set(all.flatMap(namesOf))]
  for (const wanted of names) {
    if (!known.some((one) => one.toLowerCase() === wanted)) {
      throw new Usage(`--${option}: there is no "${wanted}"; there is: ${known.join(", ")}`)
    }
  }
  return all.filter((one) => namesOf(one).some((name) => names.includes(name.toLowerCase())))
}

const readRuns = (text = "5"): number => {
  const runs = Number(text)
  if (!Number.isInteger(runs) || runs < 1 || runs > 100) {
    throw new Usage(`--runs ${text}: give a whole number from 1 to 100`)
  }
  return runs
}

// Where the user typed the command: pnpm starts scripts in the folder of their package.
const userPath = (path: string): string => resolve(process.env["INIT_CWD"] ?? process.cwd(), path)

/** As it was typed, without the place of the page. */
const commandOf = ({ db, fault, runs, subject }: ReturnType<typeof readArguments>): string =>
  [
    "pnpm faults",
    ...Object.entries({ fault, db, subject, runs }).flatMap(([option, value]) =>
      value === undefined ? [] : [`--${option} ${value}`]
    )
  ].join(" ")

const main = async (): Promise<number> => {
  const values = readArguments()
  if (values.help === true) {
    process.stdout.write(help)
    return 0
  }
  const options = {
    all: { scenarios, subjects },
    scenarios: chosen("fault", values.fault, scenarios, (one: Scenario) => [one.id, titleOf(one)]),
    places: chosen("db", values.db, Object.keys(places), (one) => [one]).map((one) => places[one]!),
    subjects: chosen("subject", values.subject, subjects, (one) => [one.name]),
    runs: values.page === true ? 0 : readRuns(values.runs),
    out: values.out === undefined ? fileURLToPath(new URL("./SCOREBOARD.md", import.meta.url)) : userPath(values.out),
    command: commandOf(values),
    progress: (line: string) => void process.stderr.write(`${line}\n`),
    print: (line: string) => void process.stdout.write(`${line}\n`)
  }
  countUncaught()
  const fiber = Effect.runFork(runScoreboard(options))
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    // The servers end with the scope.
    process.once(signal, () => {
      Effect.runFork(Fiber.interrupt(fiber)).addObserver(() => process.exit(130))
    })
  }
  const exit = await Effect.runPromise(Fiber.await(fiber))
  if (Exit.isFailure(exit)) throw new Error(Cause.pretty(exit.cause))
  for (const line of exit.value) options.progress(line)
  return exit.value.length === 0 ? 0 : 1
}

main().then(
  (code) => process.exit(code),
  (error) => {
    process.stderr.write(
      error instanceof Usage ? `${error.message}\nSee pnpm faults --help\n` : `${error?.stack ?? error}\n`
    )
    process.exit(error instanceof Usage ? 2 : 1)
  }
)
