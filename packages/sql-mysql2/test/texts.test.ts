import { assert, describe, it } from "@effect/vitest"
import { Profiles } from "@sluice/sql/driver/Profile"
import { Unsendable } from "@sluice/sql/driver/Unsendable"
import * as texts from "../src/internal/wire/texts.js"
import * as values from "../src/internal/wire/values.js"

it("what is worth a plan, what are several statements, and what changes a session, is seen in the text", () => {
  const of = (sql: string) => {
    const { changes, planned, several } = texts.read(sql)
    return [
      planned && "planned",
      several && "several",
      changes.unreported && "unreported",
      changes.reported && "reported"
    ].filter(Boolean)
  }
  const cases: ReadonlyArray<readonly [sql: string, ...expected: ReadonlyArray<string>]> = [
    ["select 1", "planned"],
    ["  WITH x as (select 1) select * from x;  ", "planned"],
    ["replace into t values (1)", "planned"],
    ["create table t (id int)"],
    ["create temporary table t (id int)", "reported"],
    ["create or replace temporary table t (id int)", "reported"],
    ["set @a = 1", "reported"],
    ["call p()", "reported"],
    ["use other", "reported"],
    ["lock tables t write", "unreported"],
    ["lock table t write", "unreported"],
    ["handler t open", "unreported"],
    ["set transaction isolation level serializable", "unreported", "reported"],
    ["set session transaction read only", "unreported", "reported"],
    ["select GET_LOCK('a', 1)", "planned", "unreported"],
    ["select @a := 1", "planned", "unreported"],
    ["select 1; select 2", "planned", "several", "reported"],
    ["show tables"]
  ]
  for (const [sql, ...expected] of cases) assert.deepStrictEqual(of(sql), expected, sql)
})

it("what ends a transaction, what takes its place, and what commits by itself", () => {
  for (const sql of ["commit", "ROLLBACK", " rollback work"]) assert.isTrue(texts.endsTransaction(sql), sql)
  for (const sql of ["rollback to savepoint a", "ROLLBACK WORK TO a", "select 1", "commits"]) {
    assert.isFalse(texts.endsTransaction(sql), sql)
  }
  for (const sql of ["rollback", "begin", "start transaction read only"]) {
    assert.isTrue(texts.replacesTransaction(sql), sql)
  }
  for (const sql of ["rollback to a", "commit", "start slave", "insert into t values (1)"]) {
    assert.isFalse(texts.replacesTransaction(sql), sql)
  }
  for (const sql of ["do 0; commit", "begin", "insert into t values (1);rollback"]) {
    assert.isTrue(texts.handlesTransaction(sql), sql)
  }
  for (const sql of ["create table begin_ (id int)", "insert into t values ('x'), ('commit')"]) {
    assert.isFalse(texts.handlesTransaction(sql), sql)
  }
  for (const sql of [
    "create table t (id int)",
    "ALTER table t",
    "truncate t",
    "drop index i on t",
    "lock tables t read"
  ]) {
    assert.isTrue(texts.commitsImplicitly(sql), sql)
  }
  for (const sql of ["insert into t values (1)", "call p()", "creates"])
    assert.isFalse(texts.commitsImplicitly(sql), sql)
})

it("a text with values is as long as the statement needs: 500 texts are remembered, then others", () => {
  const known = new texts.Texts()
  const first = known.of("select 0")
  first.unpreparable = true
  assert.strictEqual(known.of("select 0"), first)
  for (let i = 1; i <= 500; i++) known.of(`select ${i}`)
  assert.isFalse(known.of("select 0").unpreparable)
})

const style = { encoding: "utf8", timezone: "Z", isMariaDb: true }

const prepared = (...params: ReadonlyArray<unknown>): ReadonlyArray<values.Value> => {
  const found = values.prepare(params, style, true)
  if (found instanceof Unsendable) throw found
  return found
}

it("values that are written into a text have the types that they have beside it", () => {
  const rows: ReadonlyArray<readonly [unknown, string]> = [
    [1, "1"],
    [-5, "-5"],
    [0.1, "0.1e0"],
    [-0, "-0e0"],
    [1e21, "1e+21"],
    [2 ** 60, "1152921504606847000e0"],
    [2n ** 70n, "1180591620717411303424"],
    [true, "TRUE"],
    [null, "NULL"],
    ['it\'s \\ "q" \0', "'it\\'s \\\\ \\\"q\\\" \\0'"],
    [Buffer.from("a"), "_binary X'61'"],
    [new Uint16Array([1]), "_binary X'0100'"],
    [new Date(Date.UTC(33, 2, 5, 1, 2, 3, 4) - 0), "TIMESTAMP'1933-03-05 01:02:03.004000'"],
    [{ a: "x'" }, `'{\\"a\\":\\"x\\'\\"}'`],
    [{ toJSON: () => "j" }, `'\\"j\\"'`]
  ]
  for (const [value, literal] of rows) {
    assert.strictEqual(values.written("?", prepared(value), style, "strings"), literal)
  }
  assert.strictEqual(
    values.written("?", prepared({ a: 1 }), { ...style, isMariaDb: false }, "strings"),
    `CAST('{\\"a\\":1}' AS JSON)`
  )
  for (const value of prepared(1, true, 5n, null, "plain", new Date(), Buffer.from("'"))) {
    assert.isTrue(values.isSafeWithoutEscapes(value))
  }
  for (const value of prepared("it's", "back\\slash", 'double"', "new\nline", { a: 1 })) {
    assert.isFalse(values.isSafeWithoutEscapes(value))
  }
})

it("a question mark in a string, a name or a comment is no placeholder", () => {
  const one = prepared(7)
  const rows: ReadonlyArray<readonly [string, values.Quotes]> = [
    ["select '?', ?", "strings"],
    ["select 'it''s ?', ?", "strings"],
    ["select 'it\\'s ?', ?", "strings"],
    ['select "?", ?', "strings"],
    ['select "a\\"?", ?', "strings"],
    ["select `a?``?`, ?", "strings"],
    ["select /* ? */ ?", "strings"],
    ["select ? -- ?", "strings"],
    ["select ? -- ?\n", "strings"],
    ["select ? # it's ?", "strings"],
    ["select ? --\n", "strings"],
    ["select 1 --?", "strings"],
    ["select /*! ? */ 1", "strings"],
    ['select "a\\", ?', "ansi"],
    ["select '\\', ?", "withoutEscapes"],
    ["select ? /* ?", "strings"],
    ["select ?, '?", "strings"]
  ]
  for (const [sql, quotes] of rows) {
    const written = values.written(sql, one, style, quotes)
    assert.isString(written, sql)
    assert.strictEqual((written as string).split("7").length, 2, sql)
  }
  for (const sql of ["select '?'", "select ?, ?", 'select "?"']) {
    assert.match(
      (values.written(sql, one, style, "strings") as Unsendable).message,
      /placeholders and was given 1 parameters/
    )
  }
  const long = `select '${"x".repeat(5_000_000)}', ?`
  assert.strictEqual((values.written(long, one, style, "strings") as string).length, long.length)
})

describe("what may share a connection is seen in the text", () => {
  const known = new Profiles(texts.isHarmless)
  const harmless = [
    "select 1",
    "  SELECT * from a where b = ?",
    "values (1), (2)",
    "table a",
    "select 1;",
    "select a\nfrom b order by c",
    "select id, for_update, lock_mode from tables where intox = ?",
    "select count(*), if(a > 0, lower(b), 'c') from c where d in (1, 2) and exists (select 1 from e) /* of a page */"
  ]
  const harmful = [
    "select book(?)",
    "select app.count(?)",
    "select a, `book`(1) from b",
    "select count(*), book (a) from b",
    "select book/* it */(1)",
    "select lastval(s)",
    "select is_used_lock('a'), master_pos_wait('a', 1)",
    "insert into a values (1)",
    "update a set b = 1",
    "replace into a values (1)",
    "delete from a",
    "with a as (select 1) select * from a",
    "select * from a for update",
    "select * from a FOR  UPDATE skip locked",
    "select * from a for share",
    "select * from a lock in share mode",
    "select * from a LOCK\nIN SHARE MODE",
    "select b into @b from a",
    "select * into outfile '/tmp/a' from a",
    "select @b := 1",
    "select get_lock('a', 1)",
    "select RELEASE_LOCK('a')",
    "select release_all_locks()",
    "select last_insert_id()",
    "select last_insert_id (5)",
    "select sql_calc_found_rows * from a limit 1",
    "select found_rows()",
    "select row_count()",
    "select nextval(s)",
    "select next value for s",
    "select setval(s, 5)",
    "select 1; drop table a",
    "begin",
    "start transaction",
    "set @a = 1",
    "call p()",
    "do sleep(1)",
    "show tables",
    "explain select 1",
    "handler a read first",
    "lock tables a read",
    "execute p",
    "selecting",
    "/* select */ update a set b = 1",
    `select ${"1,".repeat(6_000)}1`
  ]
  for (const sql of harmless) it(`"${sql}" may be packed`, () => assert.isTrue(known.of(sql).harmless))
  for (const sql of harmful) {
    it(`"${sql.slice(0, 60)}" is never packed`, () => assert.isFalse(known.of(sql).harmless))
  }
})
