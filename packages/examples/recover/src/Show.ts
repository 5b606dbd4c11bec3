/** Both sides live through the faults; the tables compare them, and ours is judged. */
import { bounded, verdict } from "@sluice/example-program/work"
import { Console, Effect } from "effect"
import * as Board from "./Board.js"
import * as Claims from "./Claims.js"
import * as Demo from "./Demo.js"
import type { Ran } from "./Scene.js"

const story = `Sequelize 4.44.0 with this configuration never came back from a restart under load: its pools were full of entries that were no
connections, and every request ended in an acquire timeout, until the program was restarted. Sequelize 6 repaired that. Here it
lives through the same faults as Sluice, at the same moments.`

const table = (ran: Ran): string => {
  const rows = [["", ran.ours.name, ran.theirs.name] as const, ...Claims.compare(ran)]
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length))
  const lines = rows.map(([name, ours, theirs]) => `  ${name.padEnd(width(0))}  ${ours.padEnd(width(1))}  ${theirs}`)
  return `\n${ran.title}: both sides\n${lines.join("\n")}`
}

export const main = Effect.gen(function* () {
  yield* Console.log(story)
  const evidence = yield* bounded(Demo.run, "2 minutes")
  yield* Console.log(`${table(evidence.restart)}\n${table(evidence.failover)}`)
  const screen = yield* Board.terminal
  const claims = Claims.judge(evidence)
  const width = Math.max(...claims.map(({ claim }) => claim.length))
  yield* Console.log("\nWhat is claimed of Sluice")
  for (const { claim, held, measured } of claims) {
    const mark = Board.paint(screen, held ? "green" : "red", held ? "✓" : "✗")
    yield* Console.log(`  ${mark} ${claim.padEnd(width)}  ${measured}`)
  }
  const { code, text } = verdict(claims)
  yield* Console.log(`\n${text}`)
  return code
})
