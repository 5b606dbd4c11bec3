/** Five things that happen to pools, on a real PostgreSQL. Each is told apart by the board alone. */

import { Sql } from "@sluice/sql-pg"
import { PgCluster as Cluster, type PgCluster } from "@sluice/testkit/PgCluster"
import { Effect, Schedule, type Scope } from "effect"

export interface Incident {
  readonly name: string
  /** How long it goes on before the picture is taken, in milliseconds. */
  readonly after: number
  readonly happen: Effect.Effect<unknown, never, Sql.Sql | PgCluster | Scope.Scope>
}

/** What callers do who are not what the picture is about. They ask again, and nobody is told of their errors. */
const caller = <E>(span: string, pauseMs: number, work: Effect.Effect<unknown, E, Sql.Sql>) =>
  work.pipe(
    Effect.withSpan(span),
    Effect.ignore,
    Effect.zipRight(Effect.sleep(pauseMs)),
    Effect.forever,
    Effect.forkScoped
  )

const many = <E, R>(n: number, effect: Effect.Effect<unknown, E, R>) =>
  Effect.forEach(Array.from({ length: n }), () => effect, { discard: true })

const order = Sql.query("select pg_sleep(0.02) /* the order */")

/** A calm service: a hundred short statements a second, in ten connections. */
export const calm = Effect.all(
  [
    many(12, caller("GET /orders/:id", 120, order)),
    many(3, caller("POST /orders", 200, Sql.query("select pg_sleep(0.03) /* a new order */")))
  ],
  { discard: true }
)

/** Something that begins again as soon as it has ended. */
const steady = <E>(n: number, span: string, work: Effect.Effect<unknown, E, Sql.Sql>) => many(n, caller(span, 50, work))

export const incidents: ReadonlyArray<Incident> = [
  {
    name: "slow-statements",
    after: 20_000,
    happen: steady(
      14,
      "GET /reports/revenue",
      Sql.query("select sum(total) from orders, pg_sleep(4) where year = 2026")
    )
  },
  {
    name: "idle-in-transaction",
    after: 20_000,
    happen: steady(
      12,
      "POST /orders/:id/pay",
      Sql.query("update orders set state = 'paid' where id = pg_backend_pid() % 100").pipe(
        // The payment provider is asked while the transaction is open.
        Effect.zipRight(Effect.sleep("8 seconds")),
        Sql.withTransaction({ isolation: "read committed" })
      )
    )
  },
  {
    name: "leak",
    after: 20_000,
    happen: Effect.forkScoped(
      Effect.withSpan(
        // One more every second and a half: somebody has taken a connection, has worked with it, and does not give it back.
        Effect.repeat(
          Effect.forkScoped(
            Sql.query("select 1").pipe(
              Effect.zipRight(Effect.never),
              Sql.withConnection({}),
              Effect.withSpan("GET /export")
            )
          ),
          Schedule.spaced("1500 millis")
        ),
        "server"
      )
    )
  },
  {
    name: "restart",
    after: 6_000,
    happen: Effect.flatMap(Cluster, ({ primary }) =>
      Effect.orDie(
        Effect.zipRight(
          Effect.orDie(primary.stop("immediate")),
          Effect.addFinalizer(() => Effect.orDie(primary.start))
        )
      )
    )
  },
  {
    name: "flood",
    after: 20_000,
    happen: many(120, caller("GET /orders/:id", 40, order))
  }
]
