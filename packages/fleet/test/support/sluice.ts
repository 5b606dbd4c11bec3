import { Command } from "@effect/cli"
import { FetchHttpClient } from "@effect/platform"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Console, Effect, Layer } from "effect"
import { sluice } from "../../src/internal/command.js"

export interface Ran {
  readonly out: string
  readonly err: string
  readonly code: number
}

const command = Command.run(sluice, { name: "sluice", version: "0.2.0" })

/** The command in this process, with what it prints and the code it would exit with. */
export const run = (...args: ReadonlyArray<string>): Effect.Effect<Ran> =>
  Effect.gen(function* () {
    const out: Array<string> = []
    const err: Array<string> = []
    const { unsafe: _, ...real } = yield* Console.consoleWith(Effect.succeed)
    const console: Console.Console = {
      ...real,
      unsafe: globalThis.console,
      log: (...texts) => Effect.sync(() => out.push(texts.join(" "))),
      error: (...texts) => Effect.sync(() => err.push(texts.join(" ")))
    }
    const code = yield* command(["node", "sluice", ...args]).pipe(
      Effect.as(0),
      Effect.catchTag("Failed", ({ code }) => Effect.succeed(code)),
      Effect.withConsole(console),
      Effect.provide(Layer.merge(NodeContext.layer, FetchHttpClient.layer)),
      Effect.orDie
    )
    return { out: out.join("\n"), err: err.join("\n"), code }
  })
