import { parseArgs } from "node:util"
import { Cause, Effect, Exit, Fiber } from "effect"
import { cancels } from "./cancels.js"
import { chaos } from "./chaos.js"
import { consistency } from "./consistency.js"
import { rows } from "./rows.js"
import type { Settings, Soak } from "./soak.js"

const soaks: ReadonlyArray<Soak> = [cancels, rows, consistency, chaos]

const help = `Usage: pnpm soak [name …] [options]

Soaks (all of them without a name), each on servers of its own:
${soaks.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`).join("\n")}

Options:
  --seconds N        how long cancels and chaos run, 1 to 86400 (default 30 and 120; chaos on each database)
  --minutes N        the same in minutes, 1 to 1440
  --db NAME          the database of chaos, pg or mysql (default: one after the other)
  --rate N           interrupts a second that cancels aims at, 1 to 100000 (default 1100)
  --rows N           rows that rows reads, 1000 to 2000000000 (default 10000000)
  --pairs N          writes that consistency makes on each database, 100 to 100000000 (default 10000)
  --seed N           where chance begins, 0 to 4294967295 (default: the time of day); printed
  --help

Examples:
  pnpm soak
  pnpm soak cancels --seconds 300
  pnpm soak cancels --seed 42 --rate 200
  pnpm soak rows --rows 100000000
  pnpm soak consistency --pairs 1000
  pnpm soak chaos --seed 7 --minutes 5 --db pg

Claims go to stdout, progress to stderr, once a second. Exit code 1: a claim does not hold, each named on stderr;
2: not a command this program understands.
`

/** Something only the caller can repair. */
class Usage extends Error {}

const readArguments = () => {
  try {
    // pnpm hands a `--` on.
    return parseArgs({
      args: process.argv.slice(2).filter((argument) => argument !== "--"),
      allowPositionals: true,
      options: {
        seconds: { type: "string" },
        minutes: { type: "string" },
        db: { type: "string" },
        rate: { type: "string" },
        rows: { type: "string" },
        pairs: { type: "string" },
        seed: { type: "string" },
        help: { type: "boolean", short: "h" }
      }
    })
  } catch (error) {
    throw new Usage((error as Error).message)
  }
}

const whole = (option: string, value: string | undefined, least: number, most: number): number | undefined => {
  if (value === undefined) return undefined
  const n = Number(value)
  if (!Number.isInteger(n) || n < least || n > most) {
    throw new Usage(`--${option} ${value}: give a whole number from ${least} to ${most}`)
  }
  return n
}

const database = (value: string | undefined): Settings["database"] => {
  if (value === undefined || value === "pg" || value === "mysql") return value
  throw new Usage(`--db ${value}: there is pg and mysql`)
}

const main = async (): Promise<number> => {
  const { positionals, values } = readArguments()
  if (values.help === true) {
    process.stdout.write(help)
    return 0
  }
  const names = positionals.length === 0 ? soaks.map(({ name }) => name) : positionals
  const chosen = names.map((name) => {
    const found = soaks.find((soak) => soak.name === name)
    if (found !== undefined) return found
    throw new Usage(`there is no soak "${name}"; there is: ${soaks.map((one) => one.name).join(", ")}`)
  })
  const minutes = whole("minutes", values.minutes, 1, 1_440)
  const settings: Settings = {
    seed: whole("seed", values.seed, 0, 2 ** 32 - 1) ?? Date.now() % 2 ** 32,
    seconds: minutes === undefined ? whole("seconds", values.seconds, 1, 86_400) : minutes * 60,
    database: database(values.db),
    rate: whole("rate", values.rate, 1, 100_000),
    rows: whole("rows", values.rows, 1_000, 2_000_000_000),
    pairs: whole("pairs", values.pairs, 100, 100_000_000),
    progress: (line) => process.stderr.write(`${line}\n`)
  }
  const broken: Array<string> = []
  for (const { name, run, summary } of chosen) {
    settings.progress(`${name}: ${summary} (seed ${settings.seed})`)
    const fiber = Effect.runFork(run(settings))
    const leave = () => {
      // The server ends with the scope.
      Effect.runFork(Fiber.interrupt(fiber)).addObserver(() => process.exit(130))
    }
    process.once("SIGINT", leave).once("SIGTERM", leave)
    const exit = await Effect.runPromise(Fiber.await(fiber))
    process.off("SIGINT", leave).off("SIGTERM", leave)
    if (Exit.isFailure(exit)) {
      broken.push(`${name} (seed ${settings.seed}) failed: ${Cause.pretty(exit.cause)}`)
      continue
    }
    process.stdout.write(`${name}, seed ${settings.seed}\n`)
    for (const claim of exit.value) {
      const line = `${claim.name}: ${claim.actual} (${claim.limit})`
      process.stdout.write(`  ${claim.holds ? "holds" : "FAILS"}  ${line}\n`)
      if (!claim.holds) broken.push(`${name} (seed ${settings.seed}): does not hold: ${line}`)
    }
  }
  for (const line of broken) process.stderr.write(`${line}\n`)
  return broken.length === 0 ? 0 : 1
}

main().then(
  (code) => process.exit(code),
  (error) => {
    process.stderr.write(
      error instanceof Usage ? `${error.message}\nSee pnpm soak --help\n` : `${error?.stack ?? error}\n`
    )
    process.exit(error instanceof Usage ? 2 : 1)
  }
)
