/** The packages as a stranger gets them: built, packed, and put into an empty folder. */
import { execFile } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Effect, Redacted } from "effect"

export const root = join(import.meta.dirname, "../..")

export const names = ["pool", "sql", "sql-pg", "sql-mysql2", "http", "observability", "fleet", "testkit"] as const

export type Name = (typeof names)[number]

export interface Packed {
  readonly name: Name
  readonly tarball: string
  /** Where it was unpacked. */
  readonly folder: string
  readonly manifest: {
    readonly name: string
    readonly version: string
    readonly dependencies?: Readonly<Record<string, string>>
    readonly peerDependencies?: Readonly<Record<string, string>>
    readonly [field: string]: unknown
  }
}

const execute = promisify(execFile)

/** Runs a program to its end. A failure shows what it has printed. */
export const run = async (
  program: string,
  args: ReadonlyArray<string>,
  cwd: string,
  env: Readonly<Record<string, string>> = {}
): Promise<string> => {
  try {
    const { stdout } = await execute(program, args, { cwd, env: { ...process.env, ...env }, maxBuffer: 2 ** 26 })
    return stdout
  } catch (error) {
    const { stderr, stdout } = error as { readonly stdout?: string; readonly stderr?: string }
    throw new Error(`${program} ${args.join(" ")} in ${cwd}: ${(error as Error).message}\n${stdout}\n${stderr}`)
  }
}

/** The pnpm that runs these tests, else the one that `npx` finds. */
const pnpm = (args: ReadonlyArray<string>, cwd: string): Promise<string> => {
  const own = process.env["npm_execpath"] ?? ""
  if (!/pnpm/.test(own)) return run("npx", ["--yes", "pnpm", ...args], cwd)
  return /\.[cm]?js$/.test(own) ? run(process.execPath, [own, ...args], cwd) : run(own, args, cwd)
}

/** Builds all packages, packs them as they are published, and unpacks them side by side in `folder`. */
export const pack = async (folder: string): Promise<ReadonlyArray<Packed>> => {
  await run(process.execPath, [join(root, "scripts/build.mjs")], root)
  const tarballs = join(folder, "tarballs")
  mkdirSync(tarballs)
  return await Promise.all(
    names.map(async (name) => {
      // They are built already: without scripts, or each would build all of them again.
      const to = join(tarballs, name)
      await pnpm(["--config.ignore-scripts=true", "pack", "--pack-destination", to], join(root, "packages", name))
      const tarball = join(to, readdirSync(to)[0]!)
      const home = join(folder, ".store", name, "node_modules/@sluice", name)
      mkdirSync(home, { recursive: true })
      await run("tar", ["xzf", tarball, "--strip-components=1", "-C", home], folder)
      return { name, tarball, folder: home, manifest: JSON.parse(readFileSync(join(home, "package.json"), "utf8")) }
    })
  )
}

const link = (target: string, path: string): void => {
  mkdirSync(dirname(path), { recursive: true })
  if (!existsSync(path)) symlinkSync(target, path, "dir")
}

/**
 * Gives each package exactly what its manifest names, as a strict package manager does: from the other packages, or from what the
 * workspace has installed for it.
 */
export const linkAll = (all: ReadonlyArray<Packed>): void => {
  for (const { folder, manifest, name } of all) {
    const around = join(folder, "../..")
    for (const wanted of Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })) {
      link(placeOf(wanted, all, [`packages/${name}`, "test"]), join(around, wanted))
    }
  }
}

/** Where a dependency is: it must be declared by one of `homes` in the workspace. */
const placeOf = (wanted: string, all: ReadonlyArray<Packed>, homes: ReadonlyArray<string>): string => {
  const ours = all.find(({ manifest }) => manifest.name === wanted)
  if (ours !== undefined) return ours.folder
  const found = homes.map((home) => join(root, home, "node_modules", wanted)).find((place) => existsSync(place))
  if (found === undefined) throw new Error(`${wanted} is not installed in ${homes.join(" or ")}`)
  return realpathSync(found)
}

export interface Program {
  readonly name: string
  /** The README that it stands in. */
  readonly readme: string
  readonly code: string
}

/** What a README says to install. */
export const installLine = (readme: string): ReadonlyArray<string> => {
  const line = /^npm install (.*)$/m.exec(readme)
  if (line === null) throw new Error("there is no install line")
  return line[1]!.split(" ").filter((word) => !word.startsWith("-"))
}

export const packageOf = (word: string): string => word.replace(/(.)@.*$/, "$1")

/** The READMEs, by the name of their package; the one of the repository is that of `sluice`. */
export const readmes: Readonly<Record<string, string>> = Object.fromEntries(
  ["sluice", ...names].map((name) => [
    name,
    readFileSync(join(root, name === "sluice" ? "." : `packages/${name}`, "README.md"), "utf8")
  ])
)

const blocksOf = (text: string): ReadonlyArray<string> =>
  Array.from(text.matchAll(/```ts\n([\s\S]*?)```/g), ([, code]) => code!)

/** Every program of the READMEs. */
const programs: ReadonlyArray<Program> = Object.entries(readmes).flatMap(([name, readme]) =>
  blocksOf(readme).map((code, i) => ({ name: `${name}-${i + 1}`, readme: name, code }))
)

/** The examples of the doc comments of a package. They are compiled with the programs of its README, and not run. */
export const examplesOf = (readme: string): ReadonlyArray<Program> =>
  names
    .filter((name) => name === readme)
    .flatMap((name) => {
      const sources = join(root, "packages", name, "src")
      return filesOf(sources)
        .filter((file) => file.endsWith(".ts") && !file.startsWith("internal/"))
        .flatMap((file) =>
          blocksOf(readFileSync(join(sources, file), "utf8").replaceAll(/^ *\*(?: |$)/gm, "")).map((code, i) => ({
            name: `example-${file.replaceAll("/", "-").slice(0, -".ts".length)}-${i + 1}`,
            readme,
            code
          }))
        )
    })

export interface Urls {
  readonly postgres: string
  readonly mysql: string
}

/** The program with the addresses of servers that exist. */
const onServers = (code: string, urls: Urls): string =>
  code
    .replaceAll(/"postgres:\/\/[^"]*"/g, JSON.stringify(urls.postgres))
    .replaceAll(/"mysql:\/\/[^"]*"/g, JSON.stringify(urls.mysql))

/** What the programs read and write. Each database gets it before they run. */
export const tables = [
  "create table payments (id varchar(20) primary key, amount int, state varchar(20), synced boolean default false)",
  "create table accounts (balance int)"
]

/** A server of each kind, with the tables. */
export const servers = Effect.gen(function* () {
  const pg = yield* PgCluster.make()
  const mysql = yield* MariaDbCluster.make()
  for (const table of tables) yield* Effect.zip(pg.primary.query(table), mysql.primary.query(table))
  return { postgres: Redacted.value(pg.primary.url), mysql: Redacted.value(mysql.primary.url) }
})

/** Writes programs of READMEs, and a configuration of the compiler that looks into all types. */
export const writePrograms = (folder: string, all: ReadonlyArray<Program>, urls: Urls): void => {
  mkdirSync(join(folder, "src"), { recursive: true })
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "stranger", private: true, type: "module" }))
  const compilerOptions = {
    target: "ES2022",
    lib: ["ES2023", "ESNext.Disposable"],
    module: "NodeNext",
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true,
    // The types of `@effect/platform` and of its servers want those of browsers and of `ws`, which they do not bring.
    skipLibCheck: all.some(({ readme }) => ["http", "observability", "fleet"].includes(readme)),
    rootDir: "src",
    outDir: "dist"
  }
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["src"] }))
  for (const { code, name } of all) writeFileSync(join(folder, "src", `${name}.ts`), onServers(code, urls))
}

/** Links what an install line names, and what every program in TypeScript has, into an empty folder. */
export const linkInto = (folder: string, words: ReadonlyArray<string>, all: ReadonlyArray<Packed>): void => {
  for (const word of [...words.map(packageOf), "@types/node"]) {
    link(
      placeOf(word, all, [
        "packages/sql-pg",
        "packages/sql-mysql2",
        "packages/http",
        "packages/observability",
        "packages/fleet",
        "."
      ]),
      join(folder, "node_modules", word)
    )
  }
}

/** The compiler of the workspace. */
export const compile = (folder: string): Promise<string> =>
  run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder], folder)

/** Runs a compiled program on a Node, and gives what it has printed. */
export const runProgram = (
  folder: string,
  { name, readme }: Program,
  urls: Urls,
  [node, ...args]: readonly [string, ...ReadonlyArray<string>] = [process.execPath]
): Promise<string> => {
  const url = readme === "sql-mysql2" ? urls.mysql : urls.postgres
  return run(node, [...args, join("dist", `${name}.js`)], folder, { DATABASE_URL: url, REPLICA_URL: url })
}

const everythingPrints = /^\["UniqueViolation",1000,\["one","two","four"\],\[\{"one":1\}\],3\]$/m

/** What each program prints. */
export const prints: Readonly<Record<string, RegExp>> = {
  "sluice-1": /^\[ \[.*\], \[.*\], \[.*\] \]$/ms,
  "pool-1": /^hello Ada\nhello Grace\nhello Edsger\nhello whoever is up\n0 leased, 0 waiting$/m,
  "sql-1": /^\[ \{ id: 'p-1' \} \]$/m,
  "sql-pg-1": /1 of 10 connections are in use/,
  "sql-mysql2-1": /1 of 10 connections are in use/,
  "sql-pg-everything": everythingPrints,
  "sql-mysql2-everything": everythingPrints,
  "observability-1": /^hello$/m,
  "fleet-1": /^5 fits 45$/m,
  "testkit-1": /^\[ \{ id: 1 \} \]$/m,
  "testkit-2": /^\[ \{ id: 1 \} \]$/m
}

export const filesOf = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).map((file) => file.replaceAll("\\", "/"))

/** The modules that can be imported by their own path. */
export const modulesOf = (folder: string): ReadonlyArray<string> =>
  filesOf(join(folder, "dist"))
    .filter((file) => file.endsWith(".d.ts") && !file.startsWith("internal/") && !file.endsWith("index.d.ts"))
    .map((file) => `./${file.slice(0, -".d.ts".length)}`)

/**
 * A program that does a little of everything: transactions, savepoints, streams, cancelled statements, priorities, retries,
 * notifications. It prints what came out, which must be the same with every version that the packages allow.
 */
const everything = (driver: "sql-pg" | "sql-mysql2"): string => {
  const isPg = driver === "sql-pg"
  const name = isPg ? "PgSql" : "MysqlSql"
  const [one, sleep] = isPg ? ["$1", "select pg_sleep(60)"] : ["?", "select sleep(60)"]
  const series = isPg ? "select i from generate_series(1, 1000) as t (i)" : "select seq as i from seq_1_to_1000"
  return `import { ${name}, Sql, SqlClient, SqlReason, SqlRetry } from "@sluice/${driver}"
import { Config, Effect, Fiber, Redacted, Schedule, Stream } from "effect"

const SqlLive = ${name}.layerConfig({ url: Config.redacted("DATABASE_URL"), pool: { maxSize: 3 } })

const program = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql\`create table things (id int primary key, name varchar(20))\`
  yield* sql.withTransaction(sql\`insert into things \${sql.insert([{ id: 1, name: "one" }, { id: 2, name: "two" }])}\`)
  const nested = Sql.withTransaction(Effect.zipRight(Sql.query("insert into things values (3, 'three')"), Effect.fail("no")))
  yield* Sql.withTransaction(Effect.zipRight(Effect.ignore(nested), Sql.query("insert into things values (4, 'four')")))
  const twice = yield* Effect.either(Sql.query("insert into things values (${one}, 'again')", [1]))
  const reason = twice._tag === "Left" ? SqlReason.of(twice.left)._tag : "none"
  const running = yield* Effect.fork(Sql.query("${sleep}"))
  yield* Effect.repeat(Sql.stats, { until: ({ write }) => write.using > 0, schedule: Schedule.spaced("1 millis") })
  yield* Fiber.interrupt(running)
  const count = yield* Stream.runCount(sql\`${series}\`.stream)
  const names = yield* Effect.forEach([1, 2, 4], (id) => Sql.read(Sql.query<{ name: string }>("select name from things where id = ${one}", [id])), { concurrency: "unbounded" })
  const policy = yield* SqlRetry.make({ max: 2, backoffBase: 1 })
  const retried = yield* Sql.retry(policy)(Sql.withPriority("background")(Sql.query("select 1 as one")))
  const second = yield* ${name}.make({ url: Redacted.make(process.env["DATABASE_URL"]!), duplicates: "allow" })
  const seen = yield* second.client\`select count(*) as n from things\`
  console.log(JSON.stringify([reason, count, names.flat().map(({ name }) => name), retried, Number(seen[0]!["n"])]))
  yield* sql\`drop table things\`
})

Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(SqlLive)))
`
}

/** The programs of a README, and one that does everything where there is a database. */
export const programsOf = (readme: string): ReadonlyArray<Program> => [
  ...programs.filter((program) => program.readme === readme),
  ...(readme === "sql-pg" || readme === "sql-mysql2"
    ? [{ name: `${readme}-everything`, readme, code: everything(readme) }]
    : [])
]
