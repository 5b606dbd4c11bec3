/**
 * A job on several machines: `ClusterCron` of @effect/cluster, whose storage is our client. Each runner is a process of its own, so
 * that it can be killed.
 */
import { spawn } from "node:child_process"
import { createServer } from "node:net"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { ShardingConfig, SqlRunnerStorage } from "@effect/cluster"
import { assert } from "@effect/vitest"
import { CurrentPriority } from "@sluice/pool/Priority"
import { Sql } from "@sluice/sql"
import { Deferred, Effect, Fiber, Layer, Redacted } from "effect"
import type { Given, Said } from "./cluster/runner.js"
import { eventually, noSessions, unique } from "./contract.js"
import { Server } from "./databases.js"
import { ours } from "./ours.js"

const home = join(import.meta.dirname, "..")

const freePort = Effect.async<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" ? address!.port : 0)))
  })
})

/** Starts a runner; its end is that of the scope. */
const start = (given: Given) =>
  Effect.gen(function* () {
    const ready = yield* Deferred.make<void>()
    const closed = yield* Deferred.make<Extract<Said, { tag: "closed" }>>()
    const ended = yield* Deferred.make<number | string | null>()
    let errors = ""
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        // Not by the command `tsx`, which ends its child itself when that is slow to answer a signal.
        spawn(process.execPath, ["--import", "tsx", "contract/cluster/runner.ts", JSON.stringify(given)], {
          cwd: home,
          detached: true,
          env: { PATH: process.env["PATH"] },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) =>
        Effect.sync(() => {
          try {
            process.kill(-child.pid!, "SIGKILL")
          } catch {
            // It has ended: the usual case.
          }
        })
    )
    createInterface(child.stdout).on("line", (line) => {
      if (!line.startsWith("{")) {
        errors += `${line}\n`
        return
      }
      const said: Said = JSON.parse(line)
      if (said.tag === "ready") Deferred.unsafeDone(ready, Effect.void)
      else Deferred.unsafeDone(closed, Effect.succeed(said))
    })
    child.stderr.on("data", (text) => {
      errors += text
    })
    child.once("close", (code, signal) => {
      Deferred.unsafeDone(ended, Effect.succeed(code ?? signal))
      Deferred.unsafeDone(ready, Effect.die(new Error(`the runner has ended: ${errors}`)))
      Deferred.unsafeDone(closed, Effect.die(new Error(`the runner has ended: ${errors}`)))
    })
    return {
      port: given.port,
      ready: Deferred.await(ready),
      kill: Effect.zipRight(
        Effect.sync(() => process.kill(-child.pid!, "SIGKILL")),
        Deferred.await(ended)
      ),
      stop: Effect.zipRight(
        Effect.sync(() => process.kill(child.pid!, "SIGTERM")),
        Deferred.await(closed)
      )
    }
  })

interface Row {
  readonly id: string
  readonly runner: number
  /** Milliseconds since the epoch, on the clock of the server. */
  readonly began: number
  readonly ended: number | null
}

const words = {
  postgresql: {
    columns: "id text, runner integer, began timestamptz, ended timestamptz",
    millis: (column: string) => `(extract(epoch from ${column}) * 1000)::float8`,
    now: "clock_timestamp()"
  },
  mysql: {
    columns: "id varchar(40), runner integer, began datetime(6), ended datetime(6)",
    millis: (column: string) => `cast(unix_timestamp(${column}) * 1000 as double)`,
    now: "now(6)"
  }
}

/** A busy machine needs seconds to start a runner, and the cluster some more to miss one. */
const PATIENCE = "1 minute"

ours("jobs on a cluster", ({ database, it, onPool, sleep }) => {
  const { columns, millis, now } = words[database]

  it.scoped(
    "a job of two runners goes on when one of them is killed in the middle of a run, and is never run twice at once",
    () =>
      Effect.gen(function* () {
        const server = yield* Server
        const runs = unique("runs")
        yield* server.query(`create table ${runs} (${columns})`)
        const rows = Effect.map(
          server.query(
            `select id, runner, ${millis("began")} as began, ${millis("ended")} as ended from ${runs} order by began`
          ),
          (rows) => rows as ReadonlyArray<Row>
        )
        const names = [unique("runner"), unique("runner")]
        const runners = yield* Effect.forEach(names, (applicationName) =>
          Effect.gen(function* () {
            const url = Redacted.value(yield* server.url(applicationName))
            // Each run takes longer than the second between two times of the job.
            return yield* start({ driver: database, url, applicationName, port: yield* freePort, runs, takes: 1_200 })
          })
        )
        yield* Effect.forEach(runners, ({ ready }) => ready)
        const sees = (what: string, condition: (all: ReadonlyArray<Row>) => boolean) =>
          eventually(what, Effect.map(rows, condition), PATIENCE)
        yield* sees("two runs", (all) => all.filter(({ ended }) => ended !== null).length >= 2)

        let underWay: Row | undefined
        yield* sees("a run is under way", (all) => {
          underWay = all.find(({ ended }) => ended === null)
          return underWay !== undefined
        })
        const victim = runners.find(({ port }) => port === underWay!.runner)!
        const survivor = runners.find((one) => one !== victim)!
        assert.strictEqual(yield* victim.kill, "SIGKILL")
        const [killed] = yield* server.query(`select ${millis(now)} as at`)
        const { at } = killed as { readonly at: number }

        yield* sees(
          "two runs of the other runner",
          (all) => all.filter(({ began, ended }) => began > at && ended !== null).length >= 2
        )
        const books = yield* survivor.stop
        assert.isAbove(books.opened, 0)
        assert.deepStrictEqual([books.opened - books.closed, books.using, books.waiting], [0, 0, 0])
        for (const name of names) yield* noSessions(name)

        const all = yield* rows
        for (const [i, { began, runner }] of all.entries()) {
          // The run of the runner that was killed ended with it.
          if (i > 0) assert.isAtLeast(began, all[i - 1]!.ended ?? at, JSON.stringify(all))
          if (began > at) assert.strictEqual(runner, survivor.port)
        }
      }),
    180_000
  )

  it.effect("a cluster of class critical starts on reserved connections, while requests have all others", () =>
    onPool({ pool: { maxSize: 4, reserved: 2 } }, () =>
      Effect.gen(function* () {
        const release = yield* Deferred.make<void>()
        const requests = yield* Effect.forkAll(
          Array.from({ length: 5 }, () =>
            Sql.withTransaction(Effect.zipRight(sleep(0), Deferred.await(release))).pipe(
              Sql.withAcquireTimeout("1 minute")
            )
          )
        )
        const waiting = (n: number) =>
          eventually(
            `${n} requests wait, and two have connections`,
            Effect.map(Sql.stats, ({ write }) => write.using === 2 && write.waiting === n)
          )
        yield* waiting(3)
        const storage = SqlRunnerStorage.layerWith({ prefix: unique("cluster") }).pipe(
          Layer.provide(ShardingConfig.layer({ shardsPerGroup: 10 })),
          Layer.provide(Layer.succeed(CurrentPriority, "critical"))
        )
        yield* Effect.scoped(Layer.build(storage))
        yield* waiting(3)
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(requests)
      })
    )
  )
})
