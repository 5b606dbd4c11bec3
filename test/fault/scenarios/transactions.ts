/** Transactions whose COMMIT is not answered, and those that nobody ends. */

import type { SqlError } from "@effect/sql/SqlError"
import { SqlReason } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Cause, Effect } from "effect"
import { unique } from "../../../packages/sql/test/support/eventually.js"
import type { Client, Rig, Scenario } from "../scoreboard/model.js"
import { settle, start, until } from "./support.js"

/** What every lost connection is called, by any client. */
const USUAL = /^(?:ECONN|EPIPE|CONNECTION_|PROTOCOL_CONNECTION_LOST|ConnectionLost|Unclassified)/

/** What a program can tell an error by, without reading its sentence. */
const namesOf = (errors: ReadonlyArray<unknown>): ReadonlyArray<string> => {
  if (errors[0] === undefined) return []
  const error = Cause.squash(errors[0] as Cause.Cause<unknown>) as { _tag?: string; code?: string; cause?: unknown }
  const reason = error._tag === "SqlError" ? [SqlReason.of(error as SqlError)._tag] : []
  const codes = [error.code, (error.cause as { code?: string } | undefined)?.code]
  return [...reason, ...codes.filter((code) => code !== undefined)]
}

/** The connection is lost in the body of one transaction, and after COMMIT of another was sent. */
export const lostCommit = (rig: Rig) =>
  Effect.gen(function* () {
    const path = yield* FaultProxy.make({ target: rig.cluster.primary })
    const client = yield* rig.open({ at: path, max: 2 })
    const table = unique("commits")
    yield* client.query(`create table ${table} (id int)`)
    let runs = 0
    const lose = (atCommit: boolean) =>
      Effect.gen(function* () {
        let isAt = false
        const batch = yield* start([
          client.transaction((query) =>
            Effect.gen(function* () {
              runs++
              yield* query(`insert into ${table} values (1)`)
              // What is sent from here on never arrives.
              yield* path.blackhole()
              isAt = true
              if (!atCommit) yield* query(`insert into ${table} values (2)`)
            })
          )
        ])
        yield* until(3_000, () => isAt)
        yield* Effect.sleep(100)
        yield* path.reset
        const outcome = yield* batch.within(3_000)
        yield* batch.leave
        yield* path.heal
        return outcome
      })
    const inBody = yield* lose(false)
    yield* rig.cluster.end(rig.name)
    runs = 0
    const atCommit = yield* lose(true)
    const before = namesOf(inBody.errors)
    return {
      hanging: inBody.hanging + atCommit.hanging,
      untold: namesOf(atCommit.errors).some((name) => !USUAL.test(name) && !before.includes(name)) ? 0 : 1,
      runs
    }
  })

/** A pin that is left in the middle of a transaction, in every way that a handler can end. */
export const leftOpen = (rig: Rig) =>
  Effect.gen(function* () {
    const client: Client = yield* rig.open({ max: 1, acquireTimeout: 2_000 })
    const table = unique("left")
    yield* client.query(`create table ${table} (id int)`)
    const endings = {
      "it succeeds": Effect.void,
      "it fails": Effect.fail("no"),
      "its statement fails": "select 1 from nowhere"
    } as const
    let dirty = 0
    let open = 0
    let failed = 0
    for (const ending of Object.values(endings)) {
      yield* settle(3_000, [
        client.pinned((query) =>
          Effect.gen(function* () {
            yield* query("begin")
            yield* query(`insert into ${table} values (1)`)
            yield* typeof ending === "string" ? query(ending) : ending
          })
        )
      ])
      const next = yield* settle(3_000, [
        Effect.map(client.query(`select id from ${table}`), (rows) => {
          dirty += rows.length
        })
      ])
      failed += next.failed + next.hanging
      // InnoDB shows what it has cached until it is left alone for a while.
      yield* Effect.sleep(1_000)
      const all = yield* rig.cluster.sessions(rig.name)
      if (all.some(({ inTransaction }) => inTransaction)) open++
    }
    return { dirty, open, failed }
  })

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F16",
    name: "The connection is lost after COMMIT was sent: the program is told that the outcome is unknown, which is another error than a connection that was lost before, and the transaction is not run again.",
    places: ["postgresql", "mysql"],
    patience: 30,
    numbers: {
      untold: { title: "not told apart from a loss before COMMIT", unit: "count", atMost: 0 },
      runs: { title: "runs of the body", unit: "count", atMost: 1 },
      hanging: { title: "hanging after 3 s", unit: "count", atMost: 0 }
    },
    run: lostCommit
  },
  {
    id: "F17",
    name: "A handler returns with an open transaction, in three ways: it is rolled back or destroyed, and the next user of the connection sees nothing of it.",
    places: ["postgresql", "mysql"],
    patience: 40,
    numbers: {
      dirty: { title: "rows of it that the next user sees", unit: "count", atMost: 0 },
      open: { title: "transactions open on the server a second later", unit: "count", atMost: 0 },
      failed: { title: "next users who fail", unit: "count", atMost: 0 }
    },
    run: leftOpen
  }
]
