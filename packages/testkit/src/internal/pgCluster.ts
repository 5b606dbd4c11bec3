import { rmSync } from "node:fs"
import { basename, join } from "node:path"
import { Effect, type Scope } from "effect"
import { live } from "./live.js"
import { awaitReached, cluster, copyData, replicaNames } from "./nodes.js"
import * as Binaries from "./pgBinaries.js"
import { fail, type PgClusterError } from "./pgClusterError.js"
import { conninfo } from "./pgConfig.js"
import type { Options, PgNode } from "./pgModel.js"
import * as Node from "./pgNode.js"
import { makeFile, makeFolder, run } from "./programs.js"
import * as Reaper from "./reaper.js"
import type { ServerCluster } from "./serverNode.js"

const initialize = (dataDir: string, directory: string, binaries: Binaries.Binaries, identity: Node.Identity) => {
  const passwordFile = join(directory, "password")
  return Effect.acquireUseRelease(
    makeFile(fail, passwordFile, `${identity.password}\n`, binaries.account),
    () =>
      run(fail, {
        phase: "initdb",
        where: `folder ${directory}`,
        program: join(binaries.bin, "initdb"),
        account: binaries.account,
        args: [
          `--pgdata=${dataDir}`,
          `--username=${identity.user}`,
          `--pwfile=${passwordFile}`,
          "--auth=scram-sha-256",
          "--encoding=UTF8",
          "--locale=C",
          "--locale-provider=builtin",
          "--builtin-locale=C.UTF-8",
          "--no-sync",
          "--no-instructions"
        ]
      }),
    () => Effect.sync(() => rmSync(passwordFile, { force: true }))
  )
}

const awaitReplicated = (primary: Node.Made, replicas: ReadonlyArray<Node.Made>) =>
  Effect.gen(function* () {
    // Writes a record into the log and flushes it. All that was committed before has a lower position, flushed or not.
    const [row] = yield* primary.admin<{ position: string }>(
      "select pg_logical_emit_message(false, 'sluice', '', true)::text as position"
    )
    const reached = (replica: Node.Made) =>
      Effect.map(
        replica.admin<{ reached: boolean }>(
          "select not pg_is_in_recovery() or coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false) as reached",
          [row?.position]
        ),
        ([row]) => row?.reached === true
      )
    yield* awaitReached(fail, replicas, row?.position ?? "", reached)
  })

/** See `PgCluster.make`. */
export const make = (
  options: Options = {}
): Effect.Effect<ServerCluster<PgNode, PgClusterError>, PgClusterError, Scope.Scope> =>
  Effect.gen(function* () {
    const { database = "sluice", password = "sluice", replicas: count = 0, settings = {}, user = "sluice" } = options
    const { directory, programs } = yield* Reaper.make(fail, "pg")
    const identity: Node.Identity = { user, password, database, cluster: basename(directory) }
    const binaries = yield* Binaries.find(directory, programs)

    const folder = (name: string) => join(directory, name)
    const followers = replicaNames(count)
    for (const name of ["primary", ...followers]) yield* makeFolder(fail, folder(name), binaries.account)

    yield* initialize(join(folder("primary"), "data"), folder("primary"), binaries, identity)
    // Initdb ends with a clean shutdown, so a plain copy is a valid base backup, without pg_basebackup and a running
    // server.
    const copy = (name: string) =>
      copyData(fail, directory, name, binaries.account).pipe(
        Effect.zipRight(makeFile(fail, join(folder(name), "data", "standby.signal"), "", binaries.account))
      )
    yield* Effect.forEach(followers, copy, { concurrency: 2, discard: true })

    const node = (name: string, primary?: string) =>
      Node.make({ name, directory: folder(name), binaries, identity, settings, primary })
    const primary = yield* node("primary")
    const { host, port } = primary.node
    const follow = (name: string) => node(name, conninfo({ host, port, user, password, application_name: name }))
    const replicas = yield* Effect.forEach(followers, follow, { concurrency: "unbounded" })
    const replicated = awaitReplicated(primary, replicas)
    // A replica accepts connections before it has received the application's database.
    yield* replicated
    return cluster(primary, replicas, replicated)
  }).pipe(live)
