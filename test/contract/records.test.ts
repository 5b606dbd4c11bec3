import * as Reactivity from "@effect/experimental/Reactivity"
import { Migrator, Model, SqlClient, SqlResolver } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Deferred, Effect, Layer, Mailbox, Option, Schema, Stream } from "effect"
import { contract, eventually, idsOf, spansOf, table, unique } from "./contract.js"
import { Server } from "./databases.js"

const Row = Schema.Struct({ id: Schema.Number, name: Schema.String })

const people = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const t = yield* table("id int primary key, name varchar(20)")
  yield* sql`insert into ${sql(t)} ${sql.insert([
    { id: 1, name: "ada" },
    { id: 2, name: "bob" },
    { id: 3, name: "bob" }
  ])}`
  return t
})

const statementsIn = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(spansOf(effect), ({ seen, value }) => ({
    value,
    count: seen.filter((span) => span.name === "sql.execute").length
  }))

const all = <A, E, R>(effects: ReadonlyArray<Effect.Effect<A, E, R>>) =>
  Effect.all(effects, { batching: true, concurrency: "unbounded" })

contract("resolvers, models, migrations, reactivity", ({ driver, it, run }) => {
  it.effect("findById answers many requests with one statement, and says who was not found", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* people
        const byId = yield* SqlResolver.findById("ById", {
          Id: Schema.Number,
          Result: Row,
          ResultId: (row) => row.id,
          execute: (ids) => sql`select * from ${sql(t)} where ${sql.in("id", ids)}`
        })
        const { count, value } = yield* statementsIn(all([3, 9, 1].map((id) => byId.execute(id))))
        assert.deepStrictEqual(value, [
          Option.some({ id: 3, name: "bob" }),
          Option.none(),
          Option.some({ id: 1, name: "ada" })
        ])
        assert.strictEqual(count, 1)
      })
    )
  )

  it.effect("ordered, grouped and void batch too", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* people
        const upper = yield* SqlResolver.ordered("Upper", {
          Request: Schema.Number,
          Result: Schema.Struct({ name: Schema.String }),
          execute: (ids) => sql`select upper(name) as name from ${sql(t)} where ${sql.in("id", ids)} order by id`
        })
        const ordered = yield* statementsIn(all([1, 2].map((id) => upper.execute(id))))
        assert.deepStrictEqual(ordered, { value: [{ name: "ADA" }, { name: "BOB" }], count: 1 })
        assert.strictEqual((yield* Effect.flip(upper.execute(9)))._tag, "ResultLengthMismatch")

        const byName = yield* SqlResolver.grouped("ByName", {
          Request: Schema.String,
          RequestGroupKey: (name) => name,
          Result: Row,
          ResultGroupKey: (row) => row.name,
          execute: (names) => sql`select * from ${sql(t)} where ${sql.in("name", names)} order by id`
        })
        const grouped = yield* statementsIn(all(["bob", "eve"].map((name) => byName.execute(name))))
        assert.deepStrictEqual(
          grouped.value.map((rows) => rows.map((row) => row.id)),
          [[2, 3], []]
        )
        assert.strictEqual(grouped.count, 1)

        const insert = yield* SqlResolver.void("Insert", {
          Request: Row,
          execute: (rows) => sql`insert into ${sql(t)} ${sql.insert(rows)}`
        })
        const inserted = yield* statementsIn(all([4, 5, 6].map((id) => insert.execute({ id, name: "new" }))))
        assert.strictEqual(inserted.count, 1)
        assert.deepStrictEqual(yield* idsOf(t), [1, 2, 3, 4, 5, 6])
      })
    )
  )

  it.effect("a batch asked for inside a transaction runs inside it", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* people
        const insert = yield* SqlResolver.void("Insert", {
          Request: Row,
          execute: (rows) => sql`insert into ${sql(t)} ${sql.insert(rows)}`
        })
        const byId = yield* SqlResolver.findById("ById", {
          Id: Schema.Number,
          Result: Row,
          ResultId: (row) => row.id,
          execute: (ids) => sql`select * from ${sql(t)} where ${sql.in("id", ids)}`
        })
        yield* Effect.gen(function* () {
          yield* all([7, 8].map((id) => insert.execute({ id, name: "new" })))
          assert.deepStrictEqual((yield* all([7, 8].map((id) => byId.execute(id)))).map(Option.isSome), [true, true])
          // Also from inside a savepoint.
          yield* sql.withTransaction(insert.execute({ id: 9, name: "new" }))
          return yield* Effect.fail("no")
        }).pipe(sql.withTransaction, Effect.ignore)
        assert.deepStrictEqual(yield* idsOf(t), [1, 2, 3])
      })
    )
  )

  it.effect("a failing batch fails each of its requests", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const broken = yield* SqlResolver.void("Broken", {
          Request: Schema.Number,
          execute: (ids) => sql`select * from ${sql("no_such_table")} where ${sql.in("id", ids)}`
        })
        const errors = yield* all([1, 2].map((id) => Effect.flip(broken.execute(id))))
        assert.deepStrictEqual(
          errors.map((error) => error._tag),
          ["SqlError", "SqlError"]
        )
      })
    )
  )

  it.effect("a Model repository inserts, finds, updates and deletes", () =>
    run(
      {},
      Effect.gen(function* () {
        const t = yield* table(
          `id ${driver.words.serial} primary key, name varchar(20), created_at varchar(40), updated_at varchar(40)`
        )
        class Person extends Model.Class<Person>("Person")({
          id: Model.Generated(Schema.Number),
          name: Schema.String,
          created_at: Model.DateTimeInsert,
          updated_at: Model.DateTimeUpdate
        }) {}
        const repository = yield* Model.makeRepository(Person, { tableName: t, spanPrefix: "Person", idColumn: "id" })
        const ada = yield* repository.insert(
          Person.insert.make({ name: "ada", created_at: undefined, updated_at: undefined })
        )
        assert.instanceOf(ada, Person)
        assert.deepStrictEqual([ada.id, ada.name], [1, "ada"])
        yield* repository.insertVoid(Person.insert.make({ name: "bob", created_at: undefined, updated_at: undefined }))
        const later = yield* repository.update(Person.update.make({ id: 1, name: "lovelace", updated_at: undefined }))
        assert.deepStrictEqual([later.id, later.name], [1, "lovelace"])
        assert.deepStrictEqual(later.created_at, ada.created_at)
        yield* repository.updateVoid(Person.update.make({ id: 2, name: "byron", updated_at: undefined }))
        assert.strictEqual(Option.getOrThrow(yield* repository.findById(2)).name, "byron")
        yield* repository.delete(1)
        assert.deepStrictEqual(yield* repository.findById(1), Option.none())
        assert.deepStrictEqual(yield* idsOf(t), [2])
      })
    )
  )

  it.effect("Model data loaders batch what is asked for within their window", () =>
    run(
      {},
      Effect.gen(function* () {
        const t = yield* people
        class Person extends Model.Class<Person>("Person")({ id: Schema.Number, name: Schema.String }) {}
        const loaders = yield* Model.makeDataLoaders(Person, {
          tableName: t,
          spanPrefix: "Person",
          idColumn: "id",
          window: "5 millis"
        })
        const found = yield* Effect.all(
          [1, 2, 9].map((id) => loaders.findById(id)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(found.map(Option.map((person) => person.name)), [
          Option.some("ada"),
          Option.some("bob"),
          Option.none()
        ])
        yield* Effect.all(
          [7, 8].map((id) => loaders.insertVoid(Person.insert.make({ id, name: "new" }))),
          { concurrency: "unbounded" }
        )
        yield* Effect.all(
          [1, 2, 7].map((id) => loaders.delete(id)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(yield* idsOf(t), [3, 8])
      }).pipe(Effect.scoped)
    )
  )

  const migrator = Migrator.make({})

  it.effect("a migrator runs each migration once, in order, and only the new ones later", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const log = yield* table("id int primary key")
        const journal = unique("migrations")
        const step = (id: number) => sql`insert into ${sql(log)} (id) values (${id})`
        const first = { "0001_one": step(1), "0002_two": step(2) }
        const migrate = (steps: Record<string, Effect.Effect<unknown, unknown, SqlClient.SqlClient>>) =>
          migrator({ loader: Migrator.fromRecord(steps), table: journal })
        assert.deepStrictEqual(yield* migrate(first), [
          [1, "one"],
          [2, "two"]
        ])
        assert.deepStrictEqual(yield* migrate(first), [])
        assert.deepStrictEqual(yield* migrate({ ...first, "0003_three": step(3) }), [[3, "three"]])
        assert.deepStrictEqual(yield* idsOf(log), [1, 2, 3])
      })
    )
  )

  it.effect("a migration may make, fill, read, alter and read again, in one go", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = unique("migrated")
        const journal = unique("migrations")
        const all = sql`select * from ${sql(t)}`
        const steps = {
          "0001_make": Effect.gen(function* () {
            yield* sql.unsafe(`create table ${t} (id int primary key)`)
            yield* sql`insert into ${sql(t)} (id) values (${1})`
            assert.deepStrictEqual(yield* all, [{ id: 1 }])
          }),
          "0002_alter": Effect.gen(function* () {
            yield* sql.unsafe(`alter table ${t} add column name varchar(10)`)
            assert.deepStrictEqual(yield* all, [{ id: 1, name: null }])
          })
        }
        assert.strictEqual((yield* migrator({ loader: Migrator.fromRecord(steps), table: journal })).length, 2)
      })
    )
  )

  it.effect("a migration that fails undoes the whole run and says which it was", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const log = yield* table("id int primary key")
        const journal = unique("migrations")
        const exit = yield* Effect.exit(
          migrator({
            loader: Migrator.fromRecord({
              "0001_one": sql`insert into ${sql(log)} (id) values (${1})`,
              "0002_two": sql`insert into ${sql(log)} (id) values (${1})`
            }),
            table: journal
          })
        )
        assert.isTrue(exit._tag === "Failure" && JSON.stringify(exit.cause).includes("2_two"))
        assert.deepStrictEqual(yield* sql`select * from ${sql(journal)}`, [])
        assert.deepStrictEqual(yield* idsOf(log), [])
      })
    )
  )

  it.effect("a reactive query runs again when its keys are invalidated", () =>
    Effect.gen(function* () {
      const options = yield* Effect.flatMap(Server, (server) => server.client(unique("reactive")))
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key")
        const reactivity = yield* Reactivity.Reactivity
        const first = yield* Deferred.make<void>()
        const results = yield* Effect.fork(
          sql.reactive([t], idsOf(t)).pipe(
            Stream.tap(() => Deferred.succeed(first, void 0)),
            Stream.take(2),
            Stream.runCollect
          )
        )
        const mailbox = yield* sql.reactiveMailbox({ people: [t] }, idsOf(t))
        yield* Deferred.await(first)
        yield* reactivity.mutation([t], sql`insert into ${sql(t)} (id) values (${1})`)
        assert.deepStrictEqual(Array.from(yield* results), [[], [1]])
        yield* reactivity.mutation({ people: [t] }, sql`insert into ${sql(t)} (id) values (${2})`)
        const seen: Array<ReadonlyArray<number>> = []
        yield* Effect.fork(Stream.runForEach(Mailbox.toStream(mailbox), (ids) => Effect.sync(() => seen.push(ids))))
        yield* eventually(
          "the mailbox has the second row",
          Effect.sync(() => seen.at(-1)?.length === 2)
        )
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(driver.layer(options), Reactivity.layer)))
    })
  )
})
