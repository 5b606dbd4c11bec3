import { assert, describe, it } from "@effect/vitest"
import { Profiles } from "@sluice/sql/driver/Profile"
import { isHarmless } from "../src/internal/read.js"

describe("what can be seen in a text", () => {
  const harmless = [
    "select 1",
    "  SELECT * from a where b = $1",
    "values (1), (2)",
    "table a",
    "select 1;",
    "select a\nfrom b order by c"
  ]
  const harmful = [
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
    `select ${"1,".repeat(6_000)}1`
  ]
  for (const sql of harmless)
    it(`"${sql}" may be packed`, () => assert.isTrue(new Profiles(isHarmless).of(sql).harmless))
  for (const sql of harmful) {
    it(`"${sql.slice(0, 60)}" is never packed`, () => assert.isFalse(new Profiles(isHarmless).of(sql).harmless))
  }
})
