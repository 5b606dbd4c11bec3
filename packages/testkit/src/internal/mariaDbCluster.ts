import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import Mysql from "mysql2"
import { live } from "./live.js"
import { user as admin } from "./mariaDbAdmin.js"
import * as Binaries from "./mariaDbBinaries.js"
import { fail, type MariaDbClusterError } from "./mariaDbClusterError.js"
import * as Config from "./mariaDbConfig.js"
import type { MariaDbNode, Options } from "./mariaDbModel.js"
import * as Node from "./mariaDbNode.js"
import { awaitReached, cluster, copyData, replicaNames } from "./nodes.js"
import { makeFolder, run } from "./programs.js"
import * as Reaper from "./reaper.js"
import type { ServerCluster } from "./serverNode.js"

/**
 * The statements of the bootstrap. The application's user gets every right on every database and none on the server, so
 * a replica refuses its writes. The testkit's own user gets every right.
 */
const statements = (systemTables: string, { database, password, secret, user }: Node.Identity): string => {
  const account = (name: string) => `${Mysql.escape(name)}@'%'`
  // Executed from a string, in which a line break of the name is escaped. Otherwise the bootstrap, which ends a
  // statement at a semicolon before a line break, could end it in the middle of the name.
  const createDatabase = `create database if not exists ${Mysql.escapeId(database, true)}`
  return `create database mysql;
use mysql;
set @auth_root_socket = null;
${systemTables}
delete from global_priv where user = 'root';
delete from proxies_priv;
flush privileges;
create user ${account(admin)} identified by ${Mysql.escape(secret)};
grant all on *.* to ${account(admin)} with grant option;
create user ${account(user)} identified by ${Mysql.escape(password)};
grant all on \`%\`.* to ${account(user)};
execute immediate ${Mysql.escape(createDatabase)};
`
}

/** Fills the data folder of the primary. The server does this itself: it runs once without a network, and ends. */
const bootstrap = (directory: string, binaries: Binaries.Binaries, identity: Node.Identity) =>
  run(fail, {
    phase: "bootstrap",
    where: `folder ${directory}`,
    program: binaries.program,
    args: [`--defaults-file=${Config.path(directory)}`, "--bootstrap"],
    account: binaries.account,
    input: statements(binaries.systemTables, identity)
  })

const awaitReplicated = (primary: Node.Made, replicas: ReadonlyArray<Node.Made>) =>
  Effect.gen(function* () {
    const [row] = yield* primary.admin<{ position: string }>("select @@gtid_binlog_pos as position")
    const position = row?.position ?? ""
    // Each wait is short, because a replica that is promoted meanwhile never reaches the position.
    const arrived = (replica: Node.Made) =>
      Effect.map(
        replica.admin<{ late: number }>("select master_gtid_wait(?, 0.1) as late", [position]),
        ([row]) => row?.late === 0
      )
    const reached = (replica: Node.Made) =>
      Effect.flatMap(replica.follows, (follows) => (follows ? arrived(replica) : Effect.succeed(true)))
    yield* awaitReached(fail, replicas, position, reached)
  })

/** See `MariaDbCluster.make`. */
export const make = (
  options: Options = {}
): Effect.Effect<ServerCluster<MariaDbNode, MariaDbClusterError>, MariaDbClusterError, Scope.Scope> =>
  Effect.gen(function* () {
    const { database = "sluice", password = "sluice", replicas: count = 0, settings = {}, user = "sluice" } = options
    const { directory } = yield* Reaper.make(fail, "mariadb")
    const identity: Node.Identity = { user, password, database, secret: randomBytes(16).toString("hex") }
    const binaries = yield* Binaries.find()
    const { account } = binaries

    const folder = (name: string) => join(directory, name)
    const followers = replicaNames(count)
    yield* makeFolder(fail, directory, account)
    for (const name of ["primary", ...followers]) {
      yield* makeFolder(fail, folder(name), account)
      yield* makeFolder(fail, join(folder(name), "tmp"), account)
    }
    yield* makeFolder(fail, join(folder("primary"), "data"), account)

    // The bootstrap needs the test's settings: some of them, as InnoDB's page size, cannot be changed afterwards.
    const ports = { port: 0, extraPort: 0 }
    yield* Config.write({ directory: folder("primary"), account, serverId: 1, ports, settings, replica: false })
    yield* bootstrap(folder("primary"), binaries, identity)
    // The bootstrap ends with a clean shutdown and has no replication position, so a plain copy of its data is a valid
    // replica, which starts to follow at the very beginning.
    const copy = (name: string) => copyData(fail, directory, name, account)
    yield* Effect.forEach(followers, copy, { concurrency: 2, discard: true })

    const node = (name: string, serverId: number, primary?: number) =>
      Node.make({ name, directory: folder(name), binaries, identity, settings, serverId, primary })
    const primary = yield* node("primary", 1)
    const replicas = yield* Effect.forEach(followers, (name, index) => node(name, index + 2, primary.extraPort), {
      concurrency: "unbounded"
    })
    return cluster(primary, replicas, awaitReplicated(primary, replicas))
  }).pipe(live)
