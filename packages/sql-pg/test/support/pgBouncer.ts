import { type ChildProcess, spawn } from "node:child_process"
import { accessSync, chownSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { PgCluster } from "@sluice/testkit"
import { Data, Effect, Redacted, Schedule } from "effect"

export class NoPgBouncer extends Data.TaggedError("NoPgBouncer")<{ readonly message: string }> {}

/** PgBouncer refuses to run as root; this uid has nothing else. */
const NOBODY = 65_534

const binary = Effect.suspend(() => {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"]
  for (const folder of folders) {
    const path = join(folder, "pgbouncer")
    try {
      accessSync(path, constants.X_OK)
      return Effect.succeed(path)
    } catch {}
  }
  return Effect.fail(
    new NoPgBouncer({
      message:
        "pgbouncer is not on the PATH and not in /usr/sbin: install it (Debian, Ubuntu: apt-get install -y pgbouncer; macOS: brew install pgbouncer)"
    })
  )
})

const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as { port: number }
    server.close(() => resume(Effect.succeed(port)))
  })
})

const answers = (port: number) =>
  Effect.async<void, Error>((resume) => {
    const socket = connect(port, "127.0.0.1", () => resume(Effect.void))
    socket.on("error", (error) => resume(Effect.fail(error)))
    return Effect.sync(() => socket.destroy())
  }).pipe(Effect.scoped)

const stop = (child: ChildProcess) =>
  Effect.async<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** A PgBouncer before the primary, with `servers` server connections; its url. */
export const pgBouncer = (servers: number, mode: "transaction" | "session" = "transaction") =>
  Effect.gen(function* () {
    const path = yield* binary
    const { primary } = yield* PgCluster.PgCluster
    const url = new URL(Redacted.value(primary.url))
    const port = yield* freePort
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "sluice-pgbouncer-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    const users = join(folder, "users.txt")
    const config = join(folder, "pgbouncer.ini")
    writeFileSync(users, `"${url.username}" "${url.password}"\n`)
    writeFileSync(
      config,
      `[databases]
* = host=127.0.0.1 port=${primary.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = ${mode}
default_pool_size = ${servers}
max_client_conn = 200
`
    )
    const root = process.getuid?.() === 0
    if (root) for (const file of [folder, users, config]) chownSync(file, NOBODY, NOBODY)
    let log = ""
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(path, [config], root ? { uid: NOBODY, gid: NOBODY } : {})),
      stop
    )
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (log += text))
    yield* answers(port).pipe(
      Effect.retry(Schedule.spaced("20 millis")),
      Effect.timeoutFail({ duration: "5 seconds", onTimeout: () => new Error(`pgbouncer does not answer: ${log}`) }),
      Effect.orDie
    )
    url.port = String(port)
    return url.toString()
  })
