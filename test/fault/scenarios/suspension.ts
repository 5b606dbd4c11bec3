/** Processes that are suspended, as functions and laptops are, while their servers give up their sessions. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type { PoolConfig } from "@sluice/pool/PoolOptions"
import { Effect, Queue, type Scope } from "effect"
import type { Database } from "../../contract/databases.js"
import type { Measured, Numbers, Rig, Scenario } from "../scoreboard/model.js"
import { now, until, untilTrue } from "./support.js"

/** How long the process stands still, in milliseconds: three times as long as the servers keep an idle session. */
const STILL = 3_000

/** The servers end sessions of this user that were idle for a second, as others do after ten minutes or eight hours. */
const impatient: { readonly [D in Database]: (user: string) => ReadonlyArray<string> } = {
  postgresql: (user) => [`alter role ${user} set idle_session_timeout = '1s'`],
  // Executed for each new session of a user without privileges.
  mysql: () => ["set global init_connect = 'set wait_timeout = 1'"]
}

interface Said {
  readonly failed: number
  readonly hanging: number
  readonly slowest: Measured
}

/** A process with a client of the subject, whose connections have all been used. */
const program = (rig: Rig, pool?: PoolConfig) =>
  Effect.gen(function* () {
    const { primary } = rig.cluster
    const user = rig.name
    yield* rig.cluster.setPassword(user, user)
    for (const text of impatient[rig.database](user)) yield* primary.query(text)
    const options = {
      database: rig.database,
      name: rig.name,
      user,
      at: { host: primary.host, port: primary.port },
      sleep: rig.sleep(0.2),
      pool
    }
    const folder = fileURLToPath(new URL("../..", import.meta.url))
    const file = fileURLToPath(new URL("../suspended.ts", import.meta.url))
    const child: ChildProcessWithoutNullStreams = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["--import", "tsx", file, JSON.stringify([rig.subject.name, options])], { cwd: folder })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    child.stderr.resume()
    const lines = yield* Queue.unbounded<unknown>()
    createInterface({ input: child.stdout }).on("line", (line) => Queue.unsafeOffer(lines, JSON.parse(line)))
    yield* Queue.take(lines)
    return {
      signal: (signal: NodeJS.Signals) => Effect.sync(() => child.kill(signal)),
      /** It runs 20 statements at once. */
      run: Effect.zipRight(
        Effect.sync(() => child.stdin.write("go\n")),
        Queue.take(lines) as Effect.Effect<Said>
      )
    }
  })

const sessions = (rig: Rig) => Effect.map(rig.cluster.sessions(rig.name), (all) => all.length)

export const stopped = (rig: Rig): Effect.Effect<Numbers, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* program(rig)
    yield* child.signal("SIGSTOP")
    const began = now()
    yield* until(STILL, () => Effect.map(sessions(rig), (n) => n === 0))
    const left = yield* sessions(rig)
    yield* Effect.sleep(Math.max(0, STILL - (now() - began)))
    // What it is asked lies in its pipe together with the ends of its sessions.
    yield* child.signal("SIGCONT")
    return { ...(yield* child.run), left }
  })

/** Milliseconds, as a platform is told. */
const IDLE = 500

export const closed = (rig: Rig): Effect.Effect<Numbers, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* program(rig, { closeWhenIdle: IDLE, minIdle: 5 })
    const gone = yield* untilTrue(5_000, () => Effect.map(sessions(rig), (n) => n === 0))
    yield* child.signal("SIGSTOP")
    yield* Effect.sleep(STILL / 3)
    const left = yield* sessions(rig)
    yield* child.signal("SIGCONT")
    return { ...(yield* child.run), left, gone }
  })

const numbers = {
  failed: { title: "of 20 statements, failed", unit: "count", atMost: 0 },
  hanging: { title: "hanging after 5 s", unit: "count", atMost: 0 },
  slowest: { title: "the slowest", unit: "ms" },
  left: { title: "sessions on the server at the end of the pause", unit: "count", atMost: 0 }
} as const

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F29",
    variant: "by SIGSTOP",
    name: "The process is stopped for 3 s, the servers end its sessions meanwhile (their timeouts are 1 s), and 20 statements come as soon as it goes on: none fails.",
    places: ["postgresql", "mysql"],
    patience: 40,
    numbers,
    run: stopped
  },
  {
    id: "F29",
    variant: "when asked",
    name: "With closeWhenIdle the server has no session of the process one second after the last release; it is stopped for 1 s, and of 20 statements then none fails.",
    places: ["postgresql", "mysql"],
    notRun: { peers: "it has no such option" },
    patience: 40,
    numbers: { ...numbers, gone: { title: "the last session has ended after", unit: "ms", atMost: 1_000 } },
    run: closed
  }
]
