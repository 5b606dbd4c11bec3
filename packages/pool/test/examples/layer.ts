import { Pool } from "@sluice/pool"
import { Context, Effect } from "effect"

class Printers extends Context.Tag("Printers")<Printers, Pool.Pool<{ print: (text: string) => string }>>() {}

const PrintersLive = Pool.layer(Printers, {
  name: "printers",
  maxSize: 2,
  connect: () => Effect.succeed({ print: (text: string) => `printed ${text}` })
})

const program = Effect.flatMap(Printers, (printers) =>
  Pool.use(printers, (printer) => Effect.succeed(printer.print("a page")))
)

Effect.runPromise(Effect.provide(program, PrintersLive)).then(console.log)
// printed a page
