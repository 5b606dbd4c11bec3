/**
 * Ten thousand times: write, then read what was written, while replicas lag, stand still, and one of them becomes the primary.
 *
 * Each worker has a row of its own and knows what it has written last, so a read that gives less is stale. Each read says which
 * server has answered it.
 */
import { Sql, SqlReason } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { FaultProxy, MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Clock, Effect, Fiber, type Layer, Redacted, type Scope } from "effect"
import {
  atLeast,
  atMost,
  balanced,
  type Claim,
  exactly,
  isTrue,
  number,
  type Settings,
  type Soak,
  within
} from "./soak.js"

export interface Node {
  readonly port: number
  readonly query: (sql: string) => Effect.Effect<unknown, unknown>
  readonly promote: Effect.Effect<void, unknown>
  readonly stop: Effect.Effect<void, unknown>
  /** It loses what it had not written to disk, and starts again a little behind where it was. */
  readonly crash: Effect.Effect<void, unknown>
}

export interface Kind {
  readonly name: string
  /** A primary and two replicas. */
  readonly make: Effect.Effect<
    { readonly nodes: readonly [Node, Node, Node]; readonly awaitReplicated: Effect.Effect<void, unknown> },
    unknown,
    Scope.Scope
  >
  readonly layer: (ports: ReadonlyArray<number>) => Layer.Layer<Sql.Sql, unknown>
  readonly write: string
  /** One that gives rows, with which no server says a position. */
  readonly returning: string
  readonly read: string
  /** Lets a replica be about so many milliseconds behind, for as long as the effect runs. */
  readonly lagging: (
    replica: Node,
    primary: Node,
    millis: number,
    during: Effect.Effect<void, unknown, Sql.Sql>
  ) => Effect.Effect<void, unknown, Sql.Sql>
  readonly pause: (replica: Node) => Effect.Effect<unknown, unknown>
  readonly resume: (replica: Node) => Effect.Effect<unknown, unknown>
  readonly follow: (replica: Node, primary: Node) => Effect.Effect<unknown, unknown>
}

const login = {
  username: "sluice",
  password: Redacted.make("sluice"),
  database: "sluice",
  duplicates: "allow",
  pool: { maxSize: 8, acquireTimeout: "20 seconds" }
} as const

const endpoints = ([primary, ...replicas]: ReadonlyArray<number>) => ({
  primary: { host: "127.0.0.1", port: primary! },
  replicas: replicas.map((port) => ({ host: "127.0.0.1", port }))
})

const WORKERS = 8

const rows = Array.from({ length: WORKERS }, (_, id) => `(${id}, 0)`).join(", ")

const TABLE = "create table pairs (id int primary key, n int not null)"

export const postgresql: Kind = {
  name: "PostgreSQL",
  make: Effect.gen(function* () {
    const { awaitReplicated, primary, replicas } = yield* PgCluster.make({ replicas: 2 })
    const node = ({ port, promote, query, restart, stop }: PgCluster.PgNode): Node => ({
      port,
      query,
      promote,
      stop: stop("fast"),
      crash: restart("immediate")
    })
    return { nodes: [node(primary), node(replicas[0]!), node(replicas[1]!)], awaitReplicated }
  }),
  layer: (ports) => PgSql.layer({ ...login, ...endpoints(ports) }),
  write: "update pairs set n = $1 where id = $2",
  returning: "update pairs set n = $1 where id = $2 returning n",
  read: "select n, inet_server_port() as port from pairs where id = $1",
  lagging: ({ query }, _primary, millis, during) => {
    const set = (millis: number) =>
      Effect.zipRight(
        query(`alter system set recovery_min_apply_delay = '${millis}ms'`),
        query("select pg_reload_conf()")
      )
    return Effect.zipRight(set(millis), during).pipe(Effect.zipRight(set(0)), Effect.asVoid)
  },
  pause: ({ query }) => query("select pg_wal_replay_pause()"),
  resume: ({ query }) => query("select pg_wal_replay_resume()"),
  follow: ({ query }, { port }) =>
    Effect.zipRight(
      query(
        `alter system set primary_conninfo = 'host=127.0.0.1 port=${port} user=sluice password=sluice application_name=again'`
      ),
      query("select pg_reload_conf()")
    )
}

const follow = ({ query }: Node, { port }: { readonly port: number }) =>
  query("stop slave").pipe(
    Effect.zipRight(query(`change master to master_port = ${port}, master_use_gtid = slave_pos`)),
    Effect.zipRight(query("start slave"))
  )

export const mariaDb: Kind = {
  name: "MariaDB",
  make: Effect.gen(function* () {
    const { awaitReplicated, primary, replicas } = yield* MariaDbCluster.make({ replicas: 2 })
    const node = ({ port, promote, query, restart, stop }: MariaDbCluster.MariaDbNode): Node => ({
      port,
      query,
      promote,
      stop: stop("fast"),
      crash: restart("immediate")
    })
    return { nodes: [node(primary), node(replicas[0]!), node(replicas[1]!)], awaitReplicated }
  }),
  layer: (ports) => MysqlSql.layer({ ...login, ...endpoints(ports) }),
  write: "update pairs set n = ? where id = ?",
  // MariaDB has no UPDATE … RETURNING.
  returning: "replace into pairs (n, id) values (?, ?) returning n",
  read: "select n, @@port as port from pairs where id = ?",
  // Its own delay counts in seconds, so the way to the primary takes time.
  lagging: (replica, primary, millis, during) =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: { host: "127.0.0.1", port: primary.port } })
      yield* proxy.delay(millis)
      yield* follow(replica, proxy)
      yield* during
      yield* follow(replica, primary)
    }).pipe(Effect.scoped),
  pause: ({ query }) => query("stop slave sql_thread"),
  resume: ({ query }) => query("start slave sql_thread"),
  follow
}

/** What has happened in one phase. */
interface Counts {
  pairs: number
  readonly ports: Map<number, number>
  readonly stale: Array<string>
  readonly failed: Map<string, number>
  readonly waits: Array<number>
}

const counts = (): Counts => ({ pairs: 0, ports: new Map(), stale: [], failed: new Map(), waits: [] })

const byReplicas = ({ pairs, ports }: Counts, primary: number): number =>
  (100 * (pairs - (ports.get(primary) ?? 0))) / Math.max(1, pairs)

/** Milliseconds. */
const percentile = (values: ReadonlyArray<number>, percent: number): number =>
  [...values].sort((a, b) => a - b)[Math.floor((values.length * percent) / 100)] ?? 0

/** A write as a program may make it: each is followed by a read in the same fiber. */
const forms: ReadonlyArray<
  (write: Effect.Effect<unknown, unknown, Sql.Sql>) => Effect.Effect<unknown, unknown, Sql.Sql>
> = [
  (write) => write,
  (write) => Sql.withTransaction(write),
  (write) => Sql.withConnection(write),
  (write) => Effect.flatMap(Effect.fork(write), Fiber.join),
  (write) => Effect.all([write, Sql.query("select 1")], { concurrency: 2 }),
  (write) => Effect.timeout(write, "1 minute"),
  (write) => Sql.withTransaction({ timeout: "1 minute" })(write)
]

/** One kind of database. `pairs` is shared out among the phases. */
export const runKind = (
  kind: Kind,
  { pairs, progress }: { readonly pairs: number; readonly progress: (line: string) => void }
) =>
  Effect.gen(function* () {
    const { awaitReplicated, nodes } = yield* kind.make
    const [primary, first, second] = nodes
    yield* primary.query(TABLE)
    yield* primary.query(`insert into pairs values ${rows}`)
    yield* awaitReplicated
    const all = new Map<string, Counts>()
    const claims = yield* Effect.gen(function* () {
      let phase = counts()
      let left = 0
      let isGateOpen = true
      /** Workers between a write and its read. */
      let busy = 0
      const gate = Effect.suspend(() => Effect.sleep("1 millis")).pipe(Effect.repeat({ until: () => isGateOpen }))
      const note = (error: unknown) => {
        const { _tag } = SqlReason.of(error)
        phase.failed.set(_tag, (phase.failed.get(_tag) ?? 0) + 1)
      }
      const worker = (id: number) => {
        let n = 0
        const again = <A>(effect: Effect.Effect<A, unknown, Sql.Sql>): Effect.Effect<A, never, Sql.Sql> =>
          Effect.catchAll(effect, (error) => {
            note(error)
            return Effect.zipRight(Effect.sleep("5 millis"), again(effect))
          })
        return Effect.gen(function* () {
          if (!isGateOpen) yield* gate
          // The machine must not be what a replica waits for.
          yield* Effect.sleep("10 millis")
          if (left <= 0) return
          left--
          busy++
          n++
          const counted = phase
          const text = n % 5 === 0 ? kind.returning : kind.write
          yield* again(forms[n % forms.length]!(Sql.query(text, [n, id])))
          const began = yield* Clock.currentTimeNanos
          const [row] = yield* again(Sql.read(Sql.query<{ n: number; port: number }>(kind.read, [id])))
          counted.waits.push(Number((yield* Clock.currentTimeNanos) - began) / 1e6)
          counted.pairs++
          const port = Number(row!.port)
          counted.ports.set(port, (counted.ports.get(port) ?? 0) + 1)
          if (row!.n < n) counted.stale.push(`${row!.n} instead of ${n} from ${port}`)
          busy--
          // One of three reads again later, when more is known.
          if (n % 3 === 0) {
            const [row] = yield* again(Sql.read(Sql.query<{ n: number; port: number }>(kind.read, [id])))
            if (row!.n < n) counted.stale.push(`${row!.n} instead of ${n} from ${row!.port}, later`)
          }
        }).pipe(Effect.forever)
      }
      yield* Effect.forEach(Array.from({ length: WORKERS }), (_, id) => Effect.forkScoped(worker(id)), {
        discard: true
      })
      const done = Effect.sleep("5 millis").pipe(Effect.repeat({ until: () => left <= 0 && busy === 0 }), Effect.asVoid)
      const share = Math.ceil(pairs / 9)
      const work = (name: string, part = share) =>
        Effect.suspend(() => {
          phase = counts()
          all.set(name, phase)
          left = part
          const counted = phase
          return Effect.tap(done, () =>
            Effect.sync(() =>
              progress(
                `${kind.name}, ${name}: ${number(counted.pairs)} pairs, ${
                  name === "a failover"
                    ? ""
                    : `${number(byReplicas(counted, name === "after it" ? first.port : primary.port))} % of the reads by replicas, `
                }${counted.stale.length} stale, a read took ${number(
                  percentile(counted.waits, 50)
                )} ms (p50), ${number(percentile(counted.waits, 99))} ms (p99)${
                  counted.failed.size === 0 ? "" : `, failures: ${JSON.stringify([...counted.failed])}`
                }`
              )
            )
          )
        })

      /** Reads and writes a little until each of these answers reads again: a replica that was late is tried now and then. */
      const untilRead = (...replicas: ReadonlyArray<Node>) => {
        const missing = new Set(replicas.map(({ port }) => port))
        return Effect.suspend(() => {
          phase = counts()
          left = WORKERS
          return done
        }).pipe(
          Effect.zipRight(Effect.sleep("50 millis")),
          Effect.repeat({
            until: () => {
              for (const port of phase.ports.keys()) missing.delete(port)
              return missing.size === 0
            }
          }),
          Effect.timeout("1 minute")
        )
      }

      yield* work("calm")
      const behind = Effect.zipRight(untilRead(first, second), work("20 ms behind"))
      yield* kind.lagging(first, primary, 20, kind.lagging(second, primary, 20, behind))
      yield* untilRead(first, second)
      yield* kind.pause(first)
      yield* work("one stands still")
      yield* kind.pause(second)
      yield* work("both stand still")
      yield* kind.resume(first)
      yield* kind.resume(second)
      yield* untilRead(first, second)
      yield* work("they follow again")
      const crashes = yield* Effect.fork(work("one crashes"))
      yield* Effect.sleep("50 millis")
      yield* second.crash
      yield* Fiber.join(crashes)
      yield* untilRead(first, second)
      // What a failover loses nobody can read, so nothing is under way that it could lose.
      isGateOpen = false
      yield* within(
        "30 seconds",
        Effect.sync(() => busy === 0)
      )
      yield* awaitReplicated
      yield* primary.stop
      isGateOpen = true
      const failover = yield* Effect.fork(work("a failover", 2 * share))
      yield* Effect.sleep("300 millis")
      yield* first.promote
      yield* Fiber.join(failover)
      yield* kind.follow(second, first)
      yield* untilRead(second)
      yield* work("after it")
      const isBalanced = yield* within("3 seconds", balanced)
      const phases = [...all.values()]
      const stale = phases.flatMap(({ stale }) => stale)
      const total = phases.reduce((sum, { pairs }) => sum + pairs, 0)
      const share_ = (name: string, of: number, than: number): Claim => ({
        ...atLeast(`${kind.name}, ${name}: reads by replicas`, byReplicas(all.get(name)!, of), than, " %"),
        isOfTheMachine: true
      })
      return [
        atLeast(`${kind.name}: pairs`, total, pairs),
        exactly(`${kind.name}: stale reads${stale.length === 0 ? "" : ` (${stale[0]})`}`, stale.length, 0),
        share_("calm", primary.port, 95),
        share_("20 ms behind", primary.port, 95),
        share_("they follow again", primary.port, 95),
        share_("after it", first.port, 95),
        {
          ...atMost(
            `${kind.name}: what a read takes longer when replicas are 20 ms behind (p50)`,
            percentile(all.get("20 ms behind")!.waits, 50) - percentile(all.get("calm")!.waits, 50),
            25,
            " ms"
          ),
          isOfTheMachine: true
        },
        ...[...all].flatMap(([name, { failed }]) =>
          name === "a failover" || name === "one crashes"
            ? []
            : [exactly(`${kind.name}, ${name}: failures`, JSON.stringify([...failed]), "[]")]
        ),
        isTrue(`${kind.name}: the books balance`, isBalanced)
      ]
    }).pipe(Effect.scoped, Effect.provide(kind.layer(nodes.map(({ port }) => port))))
    return claims
  }).pipe(Effect.scoped)

const run = ({ pairs = 10_000, progress }: Settings) =>
  Effect.map(
    Effect.forEach([postgresql, mariaDb], (kind) => runKind(kind, { pairs, progress })),
    (claims) => claims.flat()
  )

export const consistency: Soak = {
  name: "consistency",
  summary: "10,000 writes, each read at once, while replicas lag, stand still and take over: none is missed",
  run
}
