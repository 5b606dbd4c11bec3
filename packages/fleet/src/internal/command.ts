/** The command line: what may be said, and what the help says of it. */
import { Args, Command, HelpDoc, Options } from "@effect/cli"
import * as Top from "@sluice/observability/Top"
import { Duration, Option } from "effect"
import { planCommand } from "./planCommand.js"
import { top } from "./top.js"

const urls = Args.text({ name: "url" }).pipe(
  Args.withDescription(
    "Where a pod answers: the address of its /stats.json, or the one below which that is. A DNS name with several addresses stands for one pod at each of them"
  ),
  Args.atLeast(1)
)

const SHORTEST = 100
const LONGEST = 3_600_000

const interval = Options.text("interval").pipe(
  Options.withAlias("i"),
  Options.withDescription("How often the pods are asked: from 100 millis to 1 hour, for example 500ms, 2s or 1m"),
  Options.withDefault("1s"),
  Options.filterMap((text) => {
    const [, number, unit = "s"] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)?$/.exec(text) ?? []
    const millis = Number(number) * { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[unit as "s"]
    return millis >= SHORTEST && millis <= LONGEST ? Option.some(Duration.millis(millis)) : Option.none()
  }, "--interval is a time from 100ms to 1h, for example 500ms, 2s or 1m")
)

const sort = Options.choice("sort", Top.sorts).pipe(
  Options.withDescription("By what the pods are ordered"),
  Options.withDefault<Top.Sort>("saturation")
)

const filter = Options.text("filter").pipe(
  Options.withDescription("Only pods and pools with this text in their names"),
  Options.withDefault("")
)

const once = Options.boolean("once").pipe(
  Options.withDescription("Asks once, prints everything, and ends. So it is when the output is no terminal")
)

const json = Options.boolean("json").pipe(
  Options.withDescription("As --once, as one document of JSON: the verdict, and each pod with its report")
)

const paragraphs = (...texts: ReadonlyArray<string>): HelpDoc.HelpDoc =>
  HelpDoc.blocks(texts.map((text) => HelpDoc.p(text)))

const topCommand = Command.make("top", { urls, interval, sort, filter, once, json }, top).pipe(
  Command.withDescription(
    HelpDoc.blocks([
      HelpDoc.p("Shows the connection pools of a program, or of all pods of it, while they work."),
      HelpDoc.p(
        "Keys: q ends it, p holds the picture, s orders the pods by something else, / filters, the arrows and the page keys scroll."
      ),
      HelpDoc.h1("EXAMPLES"),
      paragraphs(
        "sluice top http://localhost:9470",
        "sluice top pod-1:9470 pod-2:9470 --interval 5s",
        "sluice top http://orders.default.svc.cluster.local:9470/sluice",
        "sluice top pod-1:9470 --json | jq .verdict.sentence"
      ),
      HelpDoc.h1("EXIT CODES"),
      paragraphs(
        "0    it was left with q or Ctrl-C, or has printed what at least one pod has answered",
        "64   the command line is wrong",
        "69   --once, --json, or no terminal: not one pod has answered",
        "70   the command itself has failed",
        "130, 143   ended by SIGINT or SIGTERM; the terminal is as it was"
      )
    ])
  )
)

export const sluice = Command.make("sluice").pipe(
  Command.withDescription("Plans and watches the connection pools of programs that use Sluice."),
  Command.withSubcommands([topCommand, planCommand])
)
