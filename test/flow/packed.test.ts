import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const run = promisify(execFile)
const root = join(import.meta.dirname, "../..")
const packages = ["pool", "sql", "sql-pg", "sql-mysql2", "testkit"]

const program = `
import { Pool } from "@sluice/pool"
import { Sql } from "@sluice/sql"
import * as Driver from "@sluice/sql/driver"
import { Pipeline } from "@sluice/sql/driver/Pipeline"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Effect } from "effect"

const isClosed = (name) => import(name).then(() => false, (error) => error.code === "ERR_PACKAGE_PATH_NOT_EXPORTED")

const program = Effect.gen(function*() {
  const driver = [Driver.Pipeline.Pipeline === Pipeline, yield* Effect.promise(() => isClosed("@sluice/sql/internal/client/client"))]
  const pool = yield* Pool.make({ connect: () => Effect.succeed("a connection") })
  const lent = yield* Pool.use(pool, Effect.succeed)
  const cluster = yield* PgCluster.make()
  const rows = yield* Sql.query("select 6 * 7 as answer").pipe(
    Effect.provide(PgSql.layer({ primary: { url: cluster.primary.url } }))
  )
  const other = yield* MariaDbCluster.make()
  const more = yield* Sql.query("select 6 * 7 as answer").pipe(
    Effect.provide(MysqlSql.layer({ primary: { url: other.primary.url } }))
  )
  return { lent, rows, more, driver }
})
console.log(JSON.stringify(await Effect.runPromise(Effect.scoped(program))))
`

describe("the packed packages", () => {
  let folder: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "sluice-packed-"))
  })

  afterAll(() => rm(folder, { recursive: true, force: true }))

  it("install into an empty project with npm and work there, down to a real database", async () => {
    for (const name of packages) {
      await run("npm", ["exec", "--yes", "--", "pnpm", "pack", "--pack-destination", folder], {
        cwd: join(root, "packages", name)
      })
    }
    const tarballs = (await readdir(folder)).map((file) => join(folder, file))
    expect(tarballs).toHaveLength(packages.length)

    const project = join(folder, "app")
    await mkdir(project)
    await writeFile(join(project, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }))
    await run("npm", ["install", "--no-audit", "--no-fund", "effect@3", ...tarballs], { cwd: project })
    await writeFile(join(project, "main.mjs"), program)

    const { stdout } = await run(process.execPath, ["main.mjs"], { cwd: project })
    expect(JSON.parse(stdout)).toEqual({
      lent: "a connection",
      rows: [{ answer: 42 }],
      more: [{ answer: 42 }],
      driver: [true, true]
    })
  }, 180_000)
})
