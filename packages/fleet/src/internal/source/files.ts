/** Opens the files of a plan and finds out what each of them is. */
import { createReadStream } from "node:fs"
import { pathToFileURL } from "node:url"
import { Path } from "@effect/platform"
import * as NodeStream from "@effect/platform-node/NodeStream"
import { Effect, Either, Stream } from "effect"
import { BadConfig, BadFile, UnreadableFile } from "../../PlanError.js"
import type { Reason } from "../../PlanReport.js"
import { compose, isCompose } from "./compose.js"
import { config, isConfig, isConfigName, type Settings } from "./config.js"
import type { Draft } from "./draft.js"
import { isKubernetes, kubernetes } from "./kubernetes.js"
import { isPm2, pm2 } from "./pm2.js"
import { parse, type Said } from "./yaml.js"

/** What is larger takes seconds to parse, and is not what one service is deployed from. */
const MOST_BYTES = 2 * 1024 * 1024

/** What is read of all files together. */
export interface Found {
  readonly drafts: ReadonlyArray<Draft>
  readonly notes: ReadonlyArray<Reason>
  readonly settings: ReadonlyArray<Settings>
}

/** `-` is what is piped into the command, such as the output of `helm template`. */
export const STDIN = "-"

const nameOf = (file: string): string => (file === STDIN ? "stdin" : file)

/** No further than one byte more than may be read, so that it is known whether there is more. Pipes have no size to ask for. */
const bytesOf = (file: string) =>
  NodeStream.fromReadable<UnreadableFile, Uint8Array>(
    () => (file === STDIN ? process.stdin : createReadStream(file)),
    (cause) => new UnreadableFile({ file: nameOf(file), cause })
  ).pipe(
    Stream.runFoldWhile(
      Buffer.alloc(0),
      (read) => read.length <= MOST_BYTES,
      (read, chunk) => Buffer.concat([read, chunk])
    ),
    Effect.map((read) => read.subarray(0, MOST_BYTES + 1))
  )

const textOf = (file: string) =>
  Effect.gen(function* () {
    const bytes = yield* bytesOf(file)
    const text = new TextDecoder().decode(bytes)
    if (bytes.length <= MOST_BYTES) return text
    const problem = `the file is larger than ${MOST_BYTES / 1024 / 1024} MB: give only the objects that use the database`
    return yield* new BadFile({ file: nameOf(file), line: text.split("\n").length, problem })
  })

/** PM2 runs such a file to read it, and so does this. */
const isProgram = (file: string): boolean => /\.[cm]?js$/.test(file)

const lineIn =
  (text: string) =>
  (path: ReadonlyArray<string | number>): number => {
    const key = path.filter((part) => typeof part === "string").at(-1)
    const at = key === undefined ? -1 : text.search(new RegExp(`\\b${key}\\b`))
    return text.slice(0, Math.max(0, at)).split("\n").length
  }

const exported = (file: string) =>
  Effect.gen(function* () {
    const text = yield* textOf(file)
    const path = (yield* Path.Path).resolve(file)
    const module: { readonly default?: unknown } = yield* Effect.tryPromise({
      try: () => import(pathToFileURL(path).href),
      catch: (cause) =>
        new BadFile({
          file,
          line: 1,
          problem: `the file cannot be run: ${cause instanceof Error ? cause.message : String(cause)}`
        })
    })
    return { file, value: module.default ?? module, lineOf: lineIn(text) }
  })

const saidsOf = (file: string) =>
  Effect.gen(function* () {
    if (isProgram(file)) return [yield* exported(file)] as ReadonlyArray<Said>
    const saids = yield* parse(nameOf(file), yield* textOf(file))
    if (saids.length > 0) return saids
    return yield* new BadFile({ file: nameOf(file), line: 1, problem: "the file is empty" })
  })

const read = (file: string) =>
  Effect.mapError(saidsOf(file), (error) =>
    error._tag === "BadFile" && isConfigName(file) ? new BadConfig({ ...error }) : error
  )

const stranger = ({ file, lineOf }: Said): BadFile => {
  const problem = "this is neither a Kubernetes manifest, a Compose file, a PM2 ecosystem file nor a sluice.yaml"
  return new BadFile({ file, line: lineOf([]), problem })
}

export const find = (files: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const saids = (yield* Effect.forEach(files, read)).flat()
    const own = saids.filter(isConfig)
    const others = saids.filter((said) => !isConfig(said))
    const manifests = others.filter(isKubernetes)
    const composed = others.filter((said) => !isKubernetes(said) && isCompose(said))
    const ecosystems = others.filter((said) => !isKubernetes(said) && !isCompose(said) && isPm2(said))
    const strange = others.find((said) => ![...manifests, ...composed, ...ecosystems].includes(said))
    if (strange !== undefined) return yield* stranger(strange)
    const parts = yield* Either.all([kubernetes(manifests), compose(composed), pm2(ecosystems)])
    return {
      settings: yield* Either.all(own.map(config)),
      drafts: parts.flatMap(({ drafts }) => drafts),
      notes: parts.flatMap(({ notes }) => notes)
    } satisfies Found
  })
