/** How every example begins: arguments, `--help`, and then its work. Imports nothing, so that `--help` needs no time. */
import type { Main } from "./work.js"

export interface Program<Flag extends string> {
  /** The name of the script in package.json, such as `demo:recover`. */
  readonly command: string
  /** One or two sentences that say what it shows. */
  readonly about: string
  /** What it does without arguments. */
  readonly nothing: string
  /** What else it can do: each flag, and what it leads to. */
  readonly flags?: { readonly [F in Flag]: string }
  /** What to call it with, and why. */
  readonly examples: ReadonlyArray<readonly [call: string, why: string]>
  /** Imports the work, which is begun with the flags that were given. */
  readonly main: () => Promise<(flags: ReadonlySet<Flag>) => Main>
}

const table = (rows: ReadonlyArray<readonly [left: string, right: string]>): string => {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}   ${right}\n`).join("")
}

const usageOf = <Flag extends string>({ about, command, examples, flags, nothing }: Program<Flag>): string => {
  const names = Object.entries<string>(flags ?? {})
  return `Sluice demo: ${about}

Usage: npx pnpm ${command}${names.map(([name]) => ` [${name}]`).join("")}

${table([["(nothing)", nothing], ...names, ["--help", "this text"]])}
Examples:
${table(examples.map(([call, why]) => [call.includes("npx") ? call : `npx pnpm ${call}`, why]))}`
}

export const start = <Flag extends string = never>(program: Program<Flag>): void => {
  const known: ReadonlyArray<string> = [...Object.keys(program.flags ?? {}), "--help"]
  // Some versions of npm and pnpm pass the separator on to the program.
  const given = process.argv.slice(2).filter((arg) => arg !== "--")
  const unknown = given.filter((arg) => arg !== "-h" && !known.includes(arg))
  if (unknown.length > 0) {
    const names = `${known.length > 1 ? "are" : "is"} ${known.join(" and ")}`
    process.stderr.write(`sluice demo: unknown argument ${unknown.join(" ")}. Known ${names}.\n\n${usageOf(program)}`)
    process.exitCode = 2
  } else if (given.includes("--help") || given.includes("-h")) {
    process.stdout.write(usageOf(program))
  } else {
    const work = Promise.all([import("./work.js"), program.main()])
    void work.then(([{ run }, main]) => run(main(new Set<string>(given) as ReadonlySet<any>)))
  }
}
