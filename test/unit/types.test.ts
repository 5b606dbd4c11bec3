/** What the compiler says of a program: types that a user sees, and mistakes that must not compile. */
import type { SqlError } from "@effect/sql/SqlError"
import { Job, Sql } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { Config, type ConfigError, Context, Effect, type Layer, Redacted, Schedule, type Scope } from "effect"
import { describe, expectTypeOf, it } from "vitest"

describe.each([
  ["PgSql", PgSql],
  ["MysqlSql", MysqlSql]
] as const)("the types of %s", (_, driver) => {
  it("layerConfig takes a Config in every part of the options, and plain values beside it", () => {
    const built = driver.layerConfig({
      url: Config.redacted("URL"),
      applicationName: "orders",
      primary: { host: Config.string("HOST"), port: Config.integer("PORT") },
      replicas: [{ url: Config.redacted("A") }, { url: Redacted.make("postgres://db-2/pay") }],
      pool: { maxSize: Config.integer("SIZE"), acquireTimeout: "5 seconds" },
      statementTimeout: Config.duration("LIMIT")
    })
    expectTypeOf<Layer.Layer.Error<typeof built>>().toEqualTypeOf<ConfigError.ConfigError | SqlError>()
    expectTypeOf<Layer.Layer.Context<typeof built>>().toBeNever()
    driver.layerConfig(Config.map(Config.redacted("URL"), (url) => ({ url })))
  })

  it("layerConfig does not compile with a Config of another type, or an option that there is none", () => {
    // @ts-expect-error a number is asked for
    driver.layerConfig({ pool: { maxSize: Config.string("SIZE") } })
    // @ts-expect-error a url is secret
    driver.layerConfig({ replicas: [{ url: Config.integer("A") }] })
    // @ts-expect-error it is called maxSize
    driver.layerConfig({ pool: { maxsize: Config.integer("SIZE") } })
  })

  it("make needs a scope, and nothing else", () => {
    expectTypeOf<Effect.Effect.Context<ReturnType<typeof driver.make>>>().toEqualTypeOf<Scope.Scope>()
  })
})

describe("the types of Job", () => {
  class Mail extends Context.Tag("Mail")<Mail, {}>() {}
  class Calendar extends Context.Tag("Calendar")<Calendar, {}>() {}

  it("a Layer needs what its effect and its schedule need, but for a Scope, which each run has of its own", () => {
    const schedule = Schedule.tapOutput(Schedule.spaced("1 second"), () => Calendar)
    const effect = Effect.acquireRelease(Effect.zipRight(Mail, Sql.query("select 1")), () => Effect.void)
    expectTypeOf(Job.layer({ name: "sync", schedule }, effect)).toEqualTypeOf<
      Layer.Layer<Job.Jobs, Job.InvalidJob, Mail | Calendar | Sql.Sql>
    >()
    expectTypeOf(Job.layer({ name: "sync", schedule: Schedule.cron("* * * * *") }, Effect.void)).toEqualTypeOf<
      Layer.Layer<Job.Jobs, Job.InvalidJob>
    >()
  })

  it("a schedule that asks for an input, or an option that there is none, does not compile", () => {
    // @ts-expect-error a job gives no input
    Job.layer({ name: "sync", schedule: Schedule.recurWhile((n: number) => n > 0) }, Effect.void)
    // @ts-expect-error it is called schedule
    Job.layer({ name: "sync", cron: "* * * * *" }, Effect.void)
  })
})
