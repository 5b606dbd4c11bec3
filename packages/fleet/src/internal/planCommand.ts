/** The command line of `sluice plan`, and its help. */
import { Args, Command, HelpDoc, Options } from "@effect/cli"
import { Option } from "effect"
import { documents, formats, plan, type Settings } from "./plan.js"

const given = <A>(option: Options.Options<A>, description: string): Options.Options<A | undefined> =>
  option.pipe(Options.withDescription(description), Options.optional, Options.map(Option.getOrUndefined))

const repeated = (name: string, description: string) =>
  Options.text(name).pipe(Options.withDescription(description), Options.repeated)

const files = Args.text({ name: "file" }).pipe(
  Args.withDescription(
    "A Kubernetes manifest, a Compose file, a PM2 ecosystem file or a sluice.yaml; - after all options is what is piped into the command, such as the output of helm template. A PM2 file that is JavaScript is run, as PM2 does; all others are only read"
  ),
  Args.repeated
)

const settings = {
  files,
  maxConnections: given(Options.integer("max-connections"), "The server's limit: show max_connections"),
  system: given(
    Options.choice("system", ["postgresql", "mysql"]),
    "postgresql (default) or mysql, which is MariaDB too"
  ),
  superuserReserved: given(
    Options.integer("superuser-reserved"),
    "superuser_reserved_connections. Default 3, for MySQL 0"
  ),
  reservedConnections: given(Options.integer("reserved-connections"), "reserved_connections. Default 0"),
  reserve: given(
    Options.text("reserve"),
    "Connections, or a percentage of all (at least 5), that are kept for operators, migrations and monitoring; what the server itself reserves counts. Default 3%"
  ),
  other: repeated("other", "NAME=NUMBER: a consumer that is not planned here, with its connections. May be repeated"),
  cores: given(Options.integer("cores"), "Cores of the database: warns of more than 4 connections for each"),
  pods: given(Options.integer("pods"), "Pods of the service: the most that its autoscaler allows"),
  workers: given(Options.integer("workers"), "Processes of each pod. Default 1"),
  processes: given(
    Options.integer("processes"),
    "Instead of --pods and --workers: plain processes, which end before they are started again"
  ),
  strategy: given(Options.choice("strategy", ["rolling", "recreate"]), "How a deploy replaces pods. Default rolling"),
  surge: given(
    Options.text("surge"),
    "Pods, or a percentage from 0% to 100%, that may be too many during a deploy. Default 25%"
  ),
  unavailable: given(
    Options.text("unavailable"),
    "Pods, or a percentage from 0% to 100%, that may be missing during a deploy. Default 25%"
  ),
  terminating: given(
    Options.choice("terminating", ["none", "wave", "together", "full"]),
    "Which old pods still have connections when new ones do. none: no old pod whose successor has some. wave (default): new pods become ready one after the other. together: they become ready in the same moment. full: all old ones"
  ),
  maxSize: given(Options.integer("max-size"), "Judges this size of each pool instead of recommending one"),
  extra: repeated(
    "extra",
    "NAME=NUMBER: connections that each process has beside its pool, such as listen=1. May be repeated"
  ),
  extraPool: repeated(
    "extra-pool",
    "NAME=NUMBER or NAME=NUMBER/pod: a further pool of each process, or of each pod. May be repeated"
  ),
  rps: given(Options.float("rps"), "Requests that use the database, for each process and second"),
  holdMs: given(Options.float("hold-ms"), "Milliseconds for which a request has its connection, 95th percentile"),
  role: given(Options.text("role"), "The database role of the services, for the statement that limits it"),
  ignore: repeated("ignore", "A service of the files that does not use the database. May be repeated"),
  format: Options.choice("format", formats).pipe(
    Options.withDescription("github: annotations of a workflow; sarif: for code scanning"),
    Options.withDefault<Settings["format"]>("text")
  ),
  document: given(
    Options.choice("document", documents),
    "Prints Markdown with the numbers of the plan: a checklist before a deploy, or a decision record (adr) about background jobs"
  ),
  explain: Options.boolean("explain").pipe(
    Options.withDescription("Says how each number was found (text, markdown; json always does)")
  )
}

const paragraphs = (...texts: ReadonlyArray<string>): HelpDoc.HelpDoc =>
  HelpDoc.blocks(texts.map((text) => HelpDoc.p(text)))

export const planCommand = Command.make("plan", settings, plan).pipe(
  Command.withDescription(
    HelpDoc.blocks([
      HelpDoc.p(
        "Says how many connections each pool may have, so that the database has enough for all of them also while a deploy replaces the pods."
      ),
      HelpDoc.p(
        "A flag holds for every service. What no flag says is taken from sluice.yaml, and what that does not say from the deployment files."
      ),
      HelpDoc.h1("EXAMPLES"),
      paragraphs(
        "sluice plan --max-connections 500 --pods 20 --workers 4",
        "sluice plan --max-connections 500 --pods 20 --workers 4 --max-size 6 --explain",
        "sluice plan sluice.yaml deploy/*.yaml --format github",
        "helm template ./chart | sluice plan --max-connections 500 --workers 4 -",
        "sluice plan sluice.yaml compose.yaml --document adr > docs/background-jobs.md"
      ),
      HelpDoc.h1("EXIT CODES"),
      paragraphs(
        "0    it fits",
        "1    it fits, with a warning: the reserve is used, a pool is smaller than its load, or the database is saturated",
        "2    it does not fit",
        "64   the command line is wrong, or a number is out of its range",
        "65   a deployment file cannot be planned: the message names its line",
        "66   a file cannot be read",
        "70   the command itself has failed",
        "78   a sluice.yaml cannot be planned: the message names its line"
      )
    ])
  )
)
