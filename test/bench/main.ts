import { mkdirSync, writeFileSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { describeMachine } from "./harness/machine.js"
import { abandon, type Benchmark, type Report, type RunOptions, runBenchmark } from "./harness.js"
import { http } from "./http.js"
import { mysql } from "./mysql.js"
import { overload } from "./overload/overload.js"
import { pg } from "./pg.js"
import { pool } from "./pool.js"
import { telemetry } from "./telemetry.js"

const benchmarks: ReadonlyArray<Benchmark> = [pool, pg, mysql, http, telemetry]

const help = `Usage: pnpm bench [name …] [options]

Benchmarks (all of them without a name):
${benchmarks.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`).join("\n")}

  overload     ways to choose whom to serve, simulated: the same numbers each time; takes no options

Options:
  --json FILE        also write everything that was measured, round by round
  --rounds N         interleaved rounds, 5 to 100 (default 5)
  --quick            3 short rounds: shows that everything runs; goals are shown, not enforced
  --scenario A,B     only scenarios whose name contains A or B
  --case A,B         only cases whose name contains A or B
  --profile DIR      a V8 CPU profile of the rounds of every case
  --help

Examples:
  pnpm bench pool
  pnpm bench pool --json pool.json --rounds 9
  pnpm bench pool --scenario uncontended --case sluice,v4
  pnpm bench pg --json pg.json
  pnpm bench mysql --scenario "point read"
  pnpm bench pool --scenario uncontended --case "sluice use" --profile profiles

Tables go to stdout, progress to stderr. Exit code 1: a goal does not hold or a case failed, each named on stderr;
2: not a command this program understands.
`

/** Something only the caller can repair. */
class Usage extends Error {}

const list = (value: string | undefined): ReadonlyArray<string> =>
  value === undefined
    ? []
    : value
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== "")

const readArguments = () => {
  try {
    // pnpm hands a `--` on.
    return parseArgs({
      args: process.argv.slice(2).filter((argument) => argument !== "--"),
      allowPositionals: true,
      options: {
        json: { type: "string" },
        rounds: { type: "string" },
        quick: { type: "boolean" },
        scenario: { type: "string" },
        case: { type: "string" },
        profile: { type: "string" },
        help: { type: "boolean", short: "h" }
      }
    })
  } catch (error) {
    throw new Usage((error as Error).message)
  }
}

const readRounds = (value: string | undefined, quick: boolean): number => {
  if (value === undefined) return quick ? 3 : 5
  const rounds = Number(value)
  const least = quick ? 1 : 5
  if (!Number.isInteger(rounds) || rounds < least || rounds > 100) {
    throw new Usage(`--rounds ${value}: give a whole number from ${least} to 100${quick ? "" : " (or add --quick)"}`)
  }
  return rounds
}

// Where the user typed the command: pnpm starts scripts in the folder of their package.
const userPath = (path: string): string => resolve(process.env["INIT_CWD"] ?? process.cwd(), path)

const main = async (): Promise<number> => {
  const { positionals, values } = readArguments()
  if (values.help === true) {
    process.stdout.write(help)
    return 0
  }
  if (positionals.length === 1 && positionals[0] === "overload") {
    overload((text) => process.stdout.write(`${text}\n`))
    return 0
  }
  const names = positionals.length === 0 ? benchmarks.map(({ name }) => name) : positionals
  const chosen = names.map((name) => {
    const found = benchmarks.find((benchmark) => benchmark.name === name)
    if (found !== undefined) return found
    throw new Usage(`there is no benchmark "${name}"; there is: ${benchmarks.map((one) => one.name).join(", ")}`)
  })
  const quick = values.quick === true
  const options: RunOptions = {
    rounds: readRounds(values.rounds, quick),
    roundMillis: quick ? 60 : 200,
    warmMillis: quick ? 300 : 500,
    scale: quick ? 0.3 : 1,
    scenarioFilter: list(values.scenario),
    caseFilter: list(values.case),
    profileDir: values.profile === undefined ? undefined : userPath(values.profile),
    progress: (line) => process.stderr.write(`${line}\n`),
    print: (text) => process.stdout.write(`${text}\n`)
  }
  if (options.profileDir !== undefined) mkdirSync(options.profileDir, { recursive: true })

  const machine = describeMachine()
  const reports: Array<Report> = []
  for (const benchmark of chosen) {
    reports.push(await runBenchmark(benchmark, machine, options))
    options.print("")
  }
  if (values.json !== undefined) {
    writeFileSync(userPath(values.json), `${JSON.stringify(reports, null, 2)}\n`)
    options.progress(`wrote ${values.json}`)
  }

  const complaints = reports.flatMap(({ benchmark, goals, scenarios }) => [
    ...scenarios.flatMap((scenario) =>
      scenario.cases
        .filter((one) => one.failed !== undefined)
        .map((one) => `${benchmark}: ${scenario.name}, ${one.name} failed: ${one.failed}`)
    ),
    ...(quick
      ? []
      : goals
          .filter((goal) => goal.holds === false)
          .map((goal) => `${benchmark}: goal does not hold: ${goal.name}: ${goal.actual}, limit ${goal.limit}`))
  ])
  for (const complaint of complaints) process.stderr.write(`${complaint}\n`)
  return complaints.length === 0 ? 0 : 1
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    abandon()
    process.exit(130)
  })
}

main().then(
  (code) => process.exit(code),
  (error) => {
    abandon()
    process.stderr.write(
      error instanceof Usage ? `${error.message}\nSee pnpm bench --help\n` : `${error?.stack ?? error}\n`
    )
    process.exit(error instanceof Usage ? 2 : 1)
  }
)
