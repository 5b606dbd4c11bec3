import {
  ClusterCron,
  ClusterSchema,
  ClusterWorkflowEngine,
  EntityAddress,
  EntityId,
  EntityType,
  Envelope,
  Message,
  MessageStorage,
  Reply,
  Runner,
  RunnerAddress,
  RunnerStorage,
  ShardId,
  ShardingConfig,
  SingleRunner,
  Snowflake,
  SqlMessageStorage,
  SqlRunnerStorage
} from "@effect/cluster"
import * as PersistedQueue from "@effect/experimental/PersistedQueue"
import { Headers } from "@effect/platform"
import { Rpc } from "@effect/rpc"
import { SqlClient, SqlPersistedQueue } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Activity, DurableClock, DurableDeferred, Workflow } from "@effect/workflow"
import { Context, Cron, Effect, Exit, Layer, Option, PrimaryKey, Schema, Scope } from "effect"
import { contract, eventually, unique } from "./contract.js"
import { Server } from "./databases.js"

const address = (port: number) => RunnerAddress.make("localhost", port)

const runner = (port: number) => Runner.make({ address: address(port), groups: ["default"], weight: 1 })

const shard = (id: number) => ShardId.make("default", id)

const numbers = (shards: Iterable<ShardId.ShardId>) => Array.from(shards, ({ id }) => id).sort()

/** As a process that has just started: what it knows, it knows from the tables. */
const process_ = <A, E, R, RIn, E2>(layer: Layer.Layer<R, E2, RIn>, body: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    // Not memoized, so that the second start is not the first one again.
    const context = yield* Layer.build(Layer.fresh(layer))
    return yield* Effect.provide(body, context)
  }).pipe(Effect.scoped)

const sharding: Partial<ShardingConfig.ShardingConfig["Type"]> = {
  shardsPerGroup: 10,
  entityMessagePollInterval: "50 millis",
  entityReplyPollInterval: "20 millis",
  sendRetryInterval: "20 millis",
  refreshAssignmentsInterval: "100 millis",
  entityTerminationTimeout: 0
}

contract(
  "queues, journals, clusters, workflows",
  ({ driver, it, run }) => {
    const queue = (tableName: string) =>
      PersistedQueue.layer.pipe(
        Layer.provide(
          SqlPersistedQueue.layerStore({ tableName, pollInterval: "20 millis", lockRefreshInterval: "1 second" })
        )
      )

    const names = (name: string) => PersistedQueue.make({ name, schema: Schema.Struct({ n: Schema.Number }) })

    it.effect("SqlPersistedQueue hands out each element once, in order, also to takers of two processes", () =>
      run(
        { maxConnections: 4 },
        Effect.gen(function* () {
          const tableName = unique("queue")
          const taken: Array<number> = []
          const worker = Effect.gen(function* () {
            const queue = yield* names("numbers")
            while (true) yield* queue.take(({ n }) => Effect.sync(() => taken.push(n)))
          })
          yield* process_(
            queue(tableName),
            Effect.gen(function* () {
              const queue = yield* names("numbers")
              for (let n = 1; n <= 10; n++) yield* queue.offer({ n }, { id: `id-${n}` })
              // The same id is the same element.
              yield* queue.offer({ n: 99 }, { id: "id-3" })
              yield* queue.take(({ n }, { attempts, id }) =>
                Effect.sync(() => assert.deepStrictEqual([n, attempts, id], [1, 0, "id-1"]))
              )
            })
          )
          yield* Effect.raceFirst(
            Effect.all([process_(queue(tableName), worker), process_(queue(tableName), worker)], { concurrency: 2 }),
            eventually(
              "all are taken",
              Effect.sync(() => taken.length === 9)
            )
          )
          assert.deepStrictEqual(
            taken.sort((a, b) => a - b),
            [2, 3, 4, 5, 6, 7, 8, 9, 10]
          )
        })
      )
    )

    it.effect("SqlPersistedQueue hands out again what has failed, with the number of attempts, up to its maximum", () =>
      run(
        {},
        process_(
          queue(unique("queue")),
          Effect.gen(function* () {
            const queue = yield* names("numbers")
            yield* queue.offer({ n: 1 })
            const attempts: Array<number> = []
            const attempt = queue.take(
              (_, info) => {
                attempts.push(info.attempts)
                return Effect.fail("no")
              },
              { maxAttempts: 3 }
            )
            for (let i = 0; i < 3; i++) assert.strictEqual(yield* Effect.flip(attempt), "no")
            assert.deepStrictEqual(attempts, [0, 1, 2])
            yield* queue.offer({ n: 2 })
            assert.strictEqual(yield* queue.take(({ n }) => Effect.succeed(n), { maxAttempts: 3 }), 2)
          })
        )
      )
    )

    const runnerStorage = (prefix: string, config: Partial<ShardingConfig.ShardingConfig["Type"]>) =>
      Layer.provide(SqlRunnerStorage.layerWith({ prefix }), ShardingConfig.layer({ ...sharding, ...config }))

    const start = (layer: ReturnType<typeof runnerStorage>) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(Layer.fresh(layer), scope)
        return { storage: Context.get(context, RunnerStorage.RunnerStorage), stop: Scope.close(scope, Exit.void) }
      })

    for (const [how, config] of [
      ["advisory locks", {}],
      ["a table of locks", { shardLockDisableAdvisory: true }]
    ] as const) {
      it.effect(`SqlRunnerStorage with ${how}: a shard has one runner, until it is released or its runner ends`, () =>
        run(
          { maxConnections: 4 },
          Effect.gen(function* () {
            const layer = runnerStorage(unique("cluster"), config)
            const one = yield* start(layer)
            const two = yield* start(layer)
            yield* one.storage.register(runner(1), true)
            yield* two.storage.register(runner(2), true)
            assert.strictEqual((yield* one.storage.getRunners).length, 2)
            yield* one.storage.setRunnerHealth(address(2), false)
            assert.deepStrictEqual(
              (yield* two.storage.getRunners).map(([runner, healthy]) => [runner.address.port, healthy]).sort(),
              [
                [1, true],
                [2, false]
              ]
            )
            const all = [1, 2, 3].map(shard)
            assert.deepStrictEqual(numbers(yield* one.storage.acquire(address(1), all)), [1, 2, 3])
            assert.deepStrictEqual(numbers(yield* two.storage.acquire(address(2), all)), [])
            assert.deepStrictEqual(numbers(yield* one.storage.refresh(address(1), all)), [1, 2, 3])
            yield* one.storage.release(address(1), shard(2))
            assert.deepStrictEqual(numbers(yield* two.storage.acquire(address(2), all)), [2])
            yield* one.storage.releaseAll(address(1))
            yield* one.storage.unregister(address(1))
            yield* one.stop
            assert.deepStrictEqual(numbers(yield* two.storage.acquire(address(2), all)), [1, 2, 3])
            assert.strictEqual((yield* two.storage.getRunners).length, 1)
            yield* two.stop
          })
        )
      )
    }

    it.effect("SqlRunnerStorage keeps its session, and with it the locks, longer than connections live", () =>
      run(
        { maxConnections: 3, connectionTTL: "1 second" },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const session = sql.unsafe<{ id: number }>(`select ${driver.words.session} as id`)
          const layer = runnerStorage(unique("cluster"), {})
          const one = yield* start(layer)
          assert.deepStrictEqual(numbers(yield* one.storage.acquire(address(1), [shard(1)])), [1])
          const [first] = yield* session
          // Not asked all the time: there are drivers that count from the last use.
          yield* eventually(
            "other connections have been replaced",
            Effect.delay(
              Effect.map(session, ([now]) => now!.id !== first!.id),
              "1200 millis"
            ),
            "10 seconds"
          )
          const two = yield* start(layer)
          assert.deepStrictEqual(numbers(yield* two.storage.acquire(address(2), [shard(1)])), [])
          assert.deepStrictEqual(numbers(yield* one.storage.refresh(address(1), [shard(1)])), [1])
          yield* one.stop
          assert.deepStrictEqual(numbers(yield* two.storage.acquire(address(2), [shard(1)])), [1])
          yield* two.stop
        })
      )
    )

    it.effect("SqlRunnerStorage whose session is lost gets another one and takes its shards again", () =>
      run(
        { maxConnections: 3 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const server = yield* Server
          const prefix = unique("cluster")
          const { stop, storage } = yield* start(runnerStorage(prefix, { shardLockRefreshInterval: "300 millis" }))
          yield* storage.register(runner(1), true)
          assert.deepStrictEqual(numbers(yield* storage.acquire(address(1), [shard(1)])), [1])
          const [holder] = yield* sql.unsafe<{ id: number }>(driver.words.shardLock(prefix))
          yield* server.endSession(holder!.id)
          yield* eventually(
            "the shard is its own again",
            storage.acquire(address(1), [shard(1)]).pipe(
              Effect.map((shards) => numbers(shards).length === 1),
              Effect.orElseSucceed(() => false)
            )
          )
          yield* stop
        })
      )
    )

    class Charge extends Schema.Class<Charge>("Charge")({ id: Schema.Number }) {
      [PrimaryKey.symbol]() {
        return String(this.id)
      }
    }

    const ChargeRpc = Rpc.make("Charge", { payload: Charge, success: Schema.Number }).annotate(
      ClusterSchema.Persisted,
      true
    )

    it.effect("SqlMessageStorage keeps requests until they are answered, once for each primary key", () =>
      run(
        {},
        Effect.gen(function* () {
          const prefix = unique("cluster")
          const storage = SqlMessageStorage.layerWith({ prefix }).pipe(
            Layer.provideMerge(Snowflake.layerGenerator),
            Layer.provide(ShardingConfig.layer(sharding))
          )
          const request = (id: number) =>
            Effect.map(
              Snowflake.Generator,
              (snowflakes) =>
                new Message.OutgoingRequest({
                  envelope: Envelope.makeRequest<typeof ChargeRpc>({
                    requestId: snowflakes.unsafeNext(),
                    address: EntityAddress.make({
                      shardId: shard(1),
                      entityType: EntityType.EntityType.make("Account"),
                      entityId: EntityId.make("a")
                    }),
                    tag: "Charge",
                    payload: new Charge({ id }),
                    headers: Headers.empty
                  }),
                  context: Context.empty() as Context.Context<any>,
                  rpc: ChargeRpc,
                  lastReceivedReply: Option.none(),
                  respond: () => Effect.void
                })
            )
          const one = yield* process_(
            storage,
            Effect.gen(function* () {
              const storage = yield* MessageStorage.MessageStorage
              const one = yield* request(1)
              assert.strictEqual((yield* storage.saveRequest(one))._tag, "Success")
              assert.strictEqual((yield* storage.saveRequest(yield* request(2)))._tag, "Success")
              const again = yield* storage.saveRequest(yield* request(1))
              assert.strictEqual(again._tag === "Duplicate" && String(again.originalId), String(one.envelope.requestId))
              return one
            })
          )
          yield* process_(
            storage,
            Effect.gen(function* () {
              const storage = yield* MessageStorage.MessageStorage
              const snowflakes = yield* Snowflake.Generator
              const unprocessed = yield* storage.unprocessedMessages([shard(1)])
              assert.deepStrictEqual(
                unprocessed.map((message) => message._tag === "IncomingRequest" && message.envelope.tag),
                ["Charge", "Charge"]
              )
              // They are read once.
              assert.deepStrictEqual(yield* storage.unprocessedMessages([shard(1)]), [])
              yield* storage.saveReply(
                new Reply.ReplyWithContext({
                  reply: new Reply.WithExit({
                    id: snowflakes.unsafeNext(),
                    requestId: one.envelope.requestId,
                    exit: Exit.succeed(42) as any
                  }),
                  context: Context.empty() as Context.Context<any>,
                  rpc: ChargeRpc
                })
              )
            })
          )
          yield* process_(
            storage,
            Effect.gen(function* () {
              const storage = yield* MessageStorage.MessageStorage
              const [reply] = yield* storage.repliesFor([one])
              assert.deepStrictEqual(reply?._tag === "WithExit" && reply.exit, Exit.succeed(42))
              yield* storage.resetShards([shard(1)])
              // Only the one without an answer is left.
              assert.strictEqual((yield* storage.unprocessedMessages([shard(1)])).length, 1)
            })
          )
        })
      )
    )

    it.effect("a workflow goes on after a restart: activities that are done are not done again", () =>
      run(
        { maxConnections: 5 },
        Effect.gen(function* () {
          let charges = 0
          let waiting = 0
          const Approved = DurableDeferred.make("Approved", { success: Schema.String })
          const Pay = Workflow.make({
            name: unique("Pay"),
            payload: { id: Schema.String },
            idempotencyKey: ({ id }) => id,
            success: Schema.String
          })
          const payments = Pay.toLayer(() =>
            Effect.gen(function* () {
              const amount = yield* Activity.make({
                name: "Charge",
                success: Schema.Number,
                execute: Effect.sync(() => ++charges * 100)
              })
              yield* DurableClock.sleep({ name: "cool down", duration: "20 millis" })
              waiting++
              const by = yield* DurableDeferred.await(Approved)
              return `${amount} by ${by}`
            })
          )
          const node = payments.pipe(
            Layer.provideMerge(ClusterWorkflowEngine.layer),
            Layer.provideMerge(SingleRunner.layer({ runnerStorage: "sql", shardingConfig: sharding }))
          )
          const payload = { id: unique("payment") }
          yield* process_(
            node,
            Effect.zipRight(
              Pay.execute(payload, { discard: true }),
              eventually(
                "it waits to be approved",
                Effect.sync(() => waiting > 0)
              )
            )
          )
          assert.strictEqual(charges, 1)
          const result = yield* process_(
            node,
            Effect.gen(function* () {
              const token = yield* DurableDeferred.tokenFromPayload(Approved, { workflow: Pay, payload })
              yield* DurableDeferred.succeed(Approved, { token, value: "ada" })
              return yield* Pay.execute(payload)
            })
          )
          assert.strictEqual(result, "100 by ada")
          // A third process asks for what is done already.
          assert.strictEqual(yield* process_(node, Pay.execute(payload)), "100 by ada")
          assert.strictEqual(charges, 1)
        })
      )
    )

    it.effect("ClusterCron runs on schedule", () =>
      run(
        { maxConnections: 5 },
        Effect.gen(function* () {
          const ran = yield* Effect.makeLatch()
          const cron = ClusterCron.make({
            name: unique("Cron"),
            cron: Cron.unsafeParse("* * * * * *"),
            execute: ran.open
          })
          const node = Layer.provideMerge(cron, SingleRunner.layer({ runnerStorage: "sql", shardingConfig: sharding }))
          yield* process_(node, ran.await)
        })
      )
    )
  },
  { oneByOne: true }
)
