import { assert, it } from "@effect/vitest"
import { Effect } from "effect"

/** Each of these queries of a url is refused, by the name of its word and with the remedy. */
export const refusedByName = (
  problems: (query: string) => Effect.Effect<ReadonlyArray<string>, unknown>,
  remedies: ReadonlyArray<readonly [query: string, remedy: RegExp]>
): void => {
  for (const [query, remedy] of remedies) {
    it.effect(`${query} is refused by name`, () =>
      Effect.gen(function* () {
        const [problem, ...others] = yield* problems(query)
        assert.match(problem!, new RegExp(`^\\?${query.split("=")[0]} is no option here: `))
        assert.match(problem!, remedy)
        assert.deepStrictEqual(others, [])
      })
    )
  }
}
