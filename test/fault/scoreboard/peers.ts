/**
 * The other clients, as their documentation says that they are used: as many connections as ours, the acquire timeout of the
 * scenario where they have one, a listener for `error` where one is asked for, and their defaults for the rest.
 */

import { SqlClient } from "@effect/sql/SqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import mysql2 from "mysql2/promise"
import pg from "pg"
import postgres from "postgres"
import type { Client, OpenOptions, Query, Subject } from "./model.js"

/** For finalizers: what does not close in a second is left to the end of its server. */
const bounded = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.ignore(Effect.timeout(Effect.interruptible(Effect.disconnect(effect)), 1_000))

const promised = <A>(f: () => PromiseLike<A>): Effect.Effect<A, unknown> =>
  Effect.tryPromise({ try: async () => await f(), catch: (error) => error })

type Say = (text: string) => PromiseLike<ReadonlyArray<any>>

/** What a program writes by hand between BEGIN and COMMIT. */
const byHand = async <A>(say: Say, body: (query: Query) => Effect.Effect<A, unknown>): Promise<A> => {
  await say("begin")
  try {
    const value = await Effect.runPromise(Effect.either(body((text) => promised(() => say(text)))))
    if (value._tag === "Left") throw value.left
    await say("commit")
    return value.right
  } catch (error) {
    await say("rollback").then(undefined, () => undefined)
    throw error
  }
}

/** A client whose statements are promises, and which lends connections. */
const promises = (
  say: Say,
  lend: () => Promise<{ readonly say: Say; readonly release: () => void }>,
  close: () => Promise<unknown>,
  read: Say = say
): Client => {
  const query: Query = (text) => promised(() => say(text))
  const lent =
    <A>(body: (say: Say) => Promise<A>) =>
    async (): Promise<A> => {
      const connection = await lend()
      try {
        return await body(connection.say)
      } finally {
        connection.release()
      }
    }
  return {
    query,
    read: (text) => promised(() => read(text)),
    idempotent: query,
    transaction: (body) => promised(lent((say) => byHand(say, body))),
    pinned: (body) => promised(lent((say) => Effect.runPromise(body((text) => promised(() => say(text)))))),
    close: promised(close)
  }
}

const passwordOf = ({ password, user }: OpenOptions): string =>
  typeof password === "function" ? password() : (password ?? user)

const pgPool: Subject = {
  name: "pg-pool",
  isOurs: false,
  databases: ["postgresql"],
  packages: ["pg-pool", "pg"],
  open: (options) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const { acquireTimeout, at, max = 10, name, password, user } = options
        const pool = new pg.Pool({
          host: at.host,
          port: at.port,
          user,
          password: typeof password === "function" ? password : passwordOf(options),
          database: "sluice",
          application_name: name,
          max,
          ...(acquireTimeout === undefined ? {} : { connectionTimeoutMillis: acquireTimeout })
        })
        pool.on("error", () => undefined)
        return promises(
          async (text) => (await pool.query(text)).rows,
          async () => {
            const client = await pool.connect()
            let failed: Error | undefined
            client.once("error", (error) => {
              failed = error
            })
            return { say: async (text) => (await client.query(text)).rows, release: () => client.release(failed) }
          },
          () => pool.end()
        )
      }),
      ({ close }) => bounded(close)
    )
}

const postgresJs: Subject = {
  name: "postgres.js",
  isOurs: false,
  databases: ["postgresql"],
  packages: ["postgres"],
  open: (options) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const { acquireTimeout, at, max = 10, name, others = [], password, user } = options
        const hosts = [at, ...others]
        const sql = postgres({
          host: hosts.map(({ host }) => host),
          port: hosts.map(({ port }) => port),
          user,
          password: typeof password === "function" ? password : passwordOf(options),
          database: "sluice",
          connection: { application_name: name },
          max,
          onnotice: () => undefined,
          ...(others.length === 0 ? {} : { target_session_attrs: "read-write" as const }),
          ...(acquireTimeout === undefined ? {} : { connect_timeout: acquireTimeout / 1_000 })
        } as object as postgres.Options<{}>)
        const on = (client: postgres.ISql) => (text: string) => client.unsafe(text) as PromiseLike<ReadonlyArray<any>>
        const client = promises(
          on(sql),
          async () => {
            const reserved = await sql.reserve()
            return { say: on(reserved), release: () => reserved.release() }
          },
          () => sql.end()
        )
        return {
          ...client,
          transaction: <A>(body: (query: Query) => Effect.Effect<A, unknown>) =>
            promised(
              () =>
                sql.begin((transaction) =>
                  Effect.runPromise(body((text) => promised(() => on(transaction)(text))))
                ) as Promise<A>
            ),
          kill: () => sql.end({ timeout: 0 })
        }
      }),
      ({ kill }) => bounded(promised(kill))
    )
}

const effectPg: Subject = {
  name: "@effect/sql-pg",
  isOurs: false,
  databases: ["postgresql"],
  packages: ["@effect/sql-pg", "@effect/sql"],
  open: (options) =>
    Effect.gen(function* () {
      const { acquireTimeout, at, max = 10, name, user } = options
      const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => bounded(Scope.close(scope, Exit.void)))
      const layer = PgClient.layer({
        host: at.host,
        port: at.port,
        username: user,
        password: Redacted.make(passwordOf(options)),
        database: "sluice",
        applicationName: name,
        maxConnections: max,
        ...(acquireTimeout === undefined ? {} : { connectTimeout: acquireTimeout })
      })
      const sql = Context.get(yield* Layer.buildWithScope(layer, scope), SqlClient)
      const query: Query = (text) => sql.unsafe(text)
      return {
        query,
        read: query,
        idempotent: query,
        transaction: (body) => sql.withTransaction(body(query)),
        pinned: (body) =>
          Effect.scoped(
            Effect.flatMap(sql.reserve, (connection) =>
              body((text) => connection.executeUnprepared(text, [], undefined))
            )
          ),
        close: Scope.close(scope, Exit.void)
      } satisfies Client
    })
}

const mysql2Pool: Subject = {
  name: "mysql2",
  isOurs: false,
  databases: ["mysql"],
  packages: ["mysql2"],
  open: (options) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const { at, max = 10, replicas = [], user } = options
        const settings = ({ host, port }: { readonly host: string; readonly port: number }) => ({
          host,
          port,
          user,
          password: passwordOf(options),
          database: "sluice",
          connectionLimit: max
        })
        const pool = mysql2.createPool(settings(at))
        const rowsOf = (rows: unknown) => (Array.isArray(rows) ? rows : [])
        const readers = replicas.length === 0 ? undefined : mysql2.createPoolCluster()
        replicas.forEach((replica, i) => {
          readers?.add(`replica${i}`, settings(replica))
        })
        const reading = readers?.of("replica*", "RR")
        return promises(
          async (text) => rowsOf((await pool.query(text))[0]),
          async () => {
            const connection = await pool.getConnection()
            return {
              say: async (text) => rowsOf((await connection.query(text))[0]),
              release: () => connection.release()
            }
          },
          async () => {
            await pool.end()
            await readers?.end()
          },
          reading === undefined ? undefined : async (text) => rowsOf((await reading.query(text))[0])
        )
      }),
      ({ close }) => bounded(close)
    )
}

export const peers: ReadonlyArray<Subject> = [pgPool, postgresJs, effectPg, mysql2Pool]
