/**
 * Whose `AsyncLocalStorage` a fiber sees when a statement of it has ended.
 *
 * | how it waits | what resumes it |
 * | --- | --- |
 * | for the answer: packed, alone, unprepared, pinned, in a transaction or savepoint, BEGIN and COMMIT, each piece of a stream | the socket |
 * | for a connection | who gives one back |
 * | for its turn on a connection | who had it before |
 * | for another attempt, for a transaction with a timeout | a timer, or another fiber |
 */
import { AsyncLocalStorage } from "node:async_hooks"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert } from "@effect/vitest"
import { Sql, SqlRetry } from "@sluice/sql"
import { Effect, Runtime, Stream } from "effect"
import { ours } from "./ours.js"

const storage = new AsyncLocalStorage<number>()

const callers = Array.from({ length: 20 }, (_, i) => i)

type Form = Effect.Effect<unknown, unknown, Sql.Sql | SqlClient>

ours("async context", ({ it, onPool, words }) => {
  const text = `select ${words.placeholder(1)} as n`
  const read = Sql.query(text, [1])
  const client = (f: (sql: SqlClient) => Form): Form => Effect.flatMap(SqlClient, f)

  /** Each caller runs the form in its own context, all of them at once, and looks at its storage after each part of it. */
  const own = (name: string, form: (look: Effect.Effect<void>) => Form) =>
    Effect.gen(function* () {
      const runtime = yield* Effect.runtime<Sql.Sql | SqlClient>()
      const strays: Array<string> = []
      let looks = 0
      yield* Effect.promise(() =>
        Promise.all(
          callers.map((caller) =>
            storage.run(caller, () => {
              const look = Effect.sync(() => {
                looks++
                const seen = storage.getStore()
                if (seen !== caller) strays.push(`${caller} sees ${seen}`)
              })
              return Runtime.runPromise(runtime)(Effect.zipRight(form(look), look))
            })
          )
        )
      )
      assert.deepStrictEqual(strays, [], name)
      assert.isAtLeast(looks, callers.length)
    })

  const twice = (look: Effect.Effect<void>, effect: Form): Form =>
    effect.pipe(Effect.zipRight(look), Effect.zipRight(effect), Effect.zipRight(look))

  it.effect("a statement goes on in the async context that it began in, in each form, for twenty callers at once", () =>
    onPool({ pool: { maxSize: 3 } }, () =>
      Effect.gen(function* () {
        const rows = `select i from ${words.series(400)}`
        yield* Effect.replicateEffect(read, 5)
        yield* own("packed", (look) => twice(look, read))
        yield* own("statements of the client", (look) =>
          twice(
            look,
            client((sql) => sql`select ${1} as n`)
          )
        )
        yield* own("values", (look) =>
          twice(
            look,
            client((sql) => sql`select ${1} as n`.values)
          )
        )
        yield* own("alone, after a wait for a connection", (look) => twice(look, Sql.query(words.sleep(0.001))))
        yield* own("unprepared", (look) => twice(look, Sql.query("select 1 as n", [], { prepare: false })))
        yield* own("failing", (look) => twice(look, Effect.flip(Sql.query("select nothing"))))
        yield* own("pinned", (look) => Sql.withConnection(twice(look, read)))
        yield* own("in a transaction", (look) => twice(look, Sql.withTransaction(twice(look, read))))
        yield* own("in a savepoint", (look) => Sql.withTransaction(twice(look, Sql.withTransaction(twice(look, read)))))
        yield* own("rolled back", (look) =>
          twice(look, Effect.flip(Sql.withTransaction(Effect.zipRight(twice(look, read), Effect.fail("no")))))
        )
        yield* own("in a transaction with a timeout", (look) =>
          twice(look, Sql.withTransaction({ timeout: "20 seconds" })(Effect.zipRight(look, twice(look, read))))
        )
        yield* own("streamed", (look) => client((sql) => Stream.runForEachChunk(sql.unsafe(rows).stream, () => look)))
        yield* own("streamed in a transaction", (look) =>
          client((sql) => Sql.withTransaction(Stream.runForEachChunk(sql.unsafe(rows).stream, () => look)))
        )
        yield* own("left early", (look) =>
          twice(
            look,
            client((sql) => Stream.runDrain(Stream.take(sql.unsafe(rows).stream, 3)))
          )
        )
        yield* own("reserved", (look) =>
          client((sql) =>
            Effect.scoped(
              Effect.flatMap(sql.reserve, (connection) => twice(look, connection.execute(text, [1], undefined)))
            )
          )
        )
        const policy = yield* SqlRetry.fromMatch({ match: [/nothing/], max: 3, backoffBase: "2 millis" })
        yield* own("tried again", (look) => {
          const failing = Effect.zipRight(look, Sql.query("select nothing"))
          return twice(look, Effect.flip(failing.pipe(Sql.retry(policy))))
        })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { reserve } = yield* SqlClient
            const connection = yield* reserve
            yield* own("in turn", (look) => twice(look, connection.execute(text, [1], undefined)))
          })
        )
      })
    )
  )
})
