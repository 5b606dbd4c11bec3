import { assert, describe, it } from "@effect/vitest"
import { Profiles } from "@sluice/sql/driver/Profile"
import { isHarmless } from "../src/internal/read.js"
import { isSeenInTag, isSeenInText, outlivesReset } from "../src/internal/session/changes.js"
import { PlanNames, Plans } from "../src/internal/wire/plans.js"

describe("what can be seen in a text", () => {
  const harmless = [
    "select 1",
    "  SELECT * from a where b = $1",
    "values (1), (2)",
    "table a",
    "select 1;",
    "select a\nfrom b order by c",
    "select count(*), max(a) filter (where b > 0) from c where d in (1, 2) and exists (select 1 from e) /* of a page */",
    "select x from unnest($1::int[]) as t(x), generate_series(1, 3) where y = any ($2) order by lower(x::varchar(10))"
  ]
  const harmful = [
    "select book($1)",
    "select app.count($1)",
    'select a, "Book"(1) from b',
    "select count(*), book (a) from b",
    "select book/* it */(1)",
    "select in -- it\n(1)",
    "select nextval('s')",
    "select setval('s', 1)",
    "select pg_notify('a', 'b')",
    "select pg_advisory_xact_lock(1)",
    "select pg_terminate_backend(1)",
    "select lo_unlink(1)",
    "insert into a values (1)",
    "update a set b = 1 returning *",
    "with a as (delete from b returning *) select * from a",
    "select * from a for update",
    "select * from a where b = 1 FOR NO KEY UPDATE skip locked",
    "select * from a for share",
    "select * from a for  key share",
    "select * into b from a",
    "select 1; drop table a",
    "begin",
    "set a = 1",
    "explain select 1",
    "call f()",
    "selecting",
    "/* select */ update a set b = 1",
    "select set_config('a', 'b', false)",
    "select pg_advisory_lock(1)",
    "select pg_notify($1, $2)",
    `select ${"1,".repeat(6_000)}1`
  ]
  for (const sql of harmless)
    it(`"${sql}" may be packed`, () => assert.isTrue(new Profiles(isHarmless).of(sql).harmless))
  for (const sql of harmful) {
    it(`"${sql.slice(0, 60)}" is never packed`, () => assert.isFalse(new Profiles(isHarmless).of(sql).harmless))
  }
})

describe("what makes a session dirty", () => {
  const inText = [
    "create temp table a (b int)",
    "create table pg_temp.a (b int)",
    "select * from pg_temp.a",
    "select 1 as x into temporary a",
    "select set_config('a', 'b', false)",
    "select set_config('a', $1, $2)",
    "select set_config('a', 'b', true), set_config('c', 'd', false)",
    "select pg_advisory_lock(1)",
    "select pg_try_advisory_lock_shared (1)",
    "select dblink_connect('a', 'b')",
    "select set_config /* it */ ('a', 'b', false)",
    `select "set_config"('a', 'b', false)`,
    `select U&"set\\005Fconfig"('a', 'b', false)`,
    "select set_config('a', ', true)', false)",
    "select set_config('a', 'b', true), 'set_config'",
    "select pg_advisory_lock -- it\n(1)",
    "select * from pg_temp_3.a",
    "select lo_open(1, 2)"
  ]
  for (const sql of inText) it(`"${sql}" is seen in its text`, () => assert.isTrue(isSeenInText(sql)))

  const clean = [
    "select 1",
    "select set_config('a', lower($1), true)",
    "select set_config('a', 'b', true), set_config('c', 'd', TRUE)",
    "select pg_advisory_xact_lock(1)",
    "select pg_advisory_unlock(1)",
    "select temperature from a"
  ]
  for (const sql of clean) it(`"${sql}" leaves nothing behind`, () => assert.isFalse(isSeenInText(sql)))

  const inTag = ["SET", "LISTEN", "LOAD", "PREPARE", "DECLARE CURSOR", "DO", "CALL"]
  for (const tag of inTag) it(`${tag} is seen in its command tag`, () => assert.isTrue(isSeenInTag(tag, "x")))

  for (const tag of ["SELECT 1", "INSERT 0 1", "COMMIT", "DELETE 1", "COPY 1", "CREATE TABLE"]) {
    it(`${tag} leaves nothing behind`, () => assert.isFalse(isSeenInTag(tag, "x")))
  }

  it("SET LOCAL ends with its transaction, unless something follows it", () => {
    assert.isFalse(isSeenInTag("SET", "set local a = 1;"))
    assert.isTrue(isSeenInTag("SET", "set local a = 1; set b = 2"))
  })

  it("what dblink has opened outlives a reset", () => {
    assert.isTrue(outlivesReset("select dblink_connect('a', 'b')"))
    assert.isFalse(outlivesReset("select set_config('a', 'b', false)"))
  })
})

describe("names of prepared statements", () => {
  it("two clients give one text one name, and no two texts share one", () => {
    const one = new PlanNames()
    const texts = Array.from({ length: 3_000 }, (_, n) => `select ${n}`)
    const names = texts.map((text) => one.of(text))
    assert.strictEqual(new Set(names).size, texts.length)
    const other = new PlanNames()
    assert.deepStrictEqual(
      texts.map((text) => other.of(text)),
      names
    )
    // The server cuts longer ones.
    for (const name of names) assert.match(name, /^sl_[\w-]{16}$/)
  })
})

describe("plans", () => {
  const plansOf = () => {
    const wire = { parsedStatements: {} as Record<string, string>, submittedNamedStatements: {} }
    return new Plans(wire as any, new PlanNames(), () => false, "public")
  }

  it("a hundred are kept, whatever search_path they have; the one that was not used for longest goes first", () => {
    const plans = plansOf()
    const first = plans.of("select 0", [])!
    for (let n = 1; n < 100; n++) {
      plans.searchIn(`tenant_${n}`)
      plans.of("select 0", [])
    }
    plans.searchIn("public")
    assert.strictEqual(plans.of("select 0", []), first)
    assert.deepStrictEqual(plans.takeForgotten(), [])
    plans.of("select 1", [])
    const [forgotten, ...more] = plans.takeForgotten()
    assert.deepStrictEqual(more, [])
    plans.searchIn("tenant_1")
    const again = plans.of("select 0", [])!
    assert.strictEqual(again.name, forgotten)
    assert.notStrictEqual(again.name, first.name)
  })

  it("while all names are in use no other text gets one", () => {
    const plans = plansOf()
    for (let n = 0; n < 100; n++) plans.of(`select ${n}`, [])!.users++
    assert.isUndefined(plans.of("select 100", []))
  })
})
