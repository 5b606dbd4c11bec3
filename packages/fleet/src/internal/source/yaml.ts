/** Reads YAML and JSON that come from outside: bounded in size and in what aliases make of it, and every value knows its line. */
import { Either } from "effect"
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  type Node,
  parseAllDocuments
} from "yaml"
import { BadFile } from "../../PlanError.js"

/** What one document of a file says. */
export interface Said {
  readonly file: string
  readonly value: unknown
  /** The line of the key of the value at the path, or of the nearest one above it. */
  readonly lineOf: (path: ReadonlyArray<string | number>) => number
}

/** How many values aliases may stand for in all: a file of a kilobyte can stand for a billion. */
const MOST_ALIASED = 100_000

/** Templates are not YAML before they are rendered. */
const isTemplate = (text: string): boolean => /\{\{[-\s]*[.$(\w]/.test(text)

const TOO_DEEP = "values are nested too deep here"

/** A value that is nested so deep is no configuration. */
const DEEPEST = 500

interface Refused {
  readonly at: Node
  readonly problem: string
}

/** What of a document must not be made into values: the alias with which they become too many, or what is nested too deep. */
const refusedOf = (root: Node): Refused | undefined => {
  const weights = new Map<string, number>()
  let aliased = 0
  let refused: Refused | undefined
  /** How many values the node stands for, with aliases followed. */
  const weigh = (node: unknown, depth: number): number => {
    if (refused !== undefined) return 0
    if (isPair(node)) return weigh(node.key, depth) + weigh(node.value, depth)
    if (isAlias(node)) {
      const weight = weights.get(node.source)
      if (weight === undefined) {
        refused = { at: node, problem: `the alias *${node.source} stands for nothing that ends before it` }
        return 0
      }
      aliased += weight
      if (aliased > MOST_ALIASED) {
        const problem = `with the alias *${node.source} all aliases stand for more than ${MOST_ALIASED} values: write them out, or fewer of them`
        refused = { at: node, problem }
      }
      return weight
    }
    if (!isNode(node)) return 1
    let weight = 1
    if (isCollection(node)) {
      if (depth > DEEPEST) refused = { at: node, problem: TOO_DEEP }
      for (const item of node.items) weight += weigh(item, depth + 1)
    }
    if ("anchor" in node && typeof node.anchor === "string") weights.set(node.anchor, weight)
    return weight
  }
  weigh(root, 1)
  return refused
}

const said = (file: string, document: Document.Parsed, lines: LineCounter): Either.Either<Said, BadFile> => {
  const lineAt = (offset: number | undefined): number =>
    offset === undefined ? 1 : Math.max(1, lines.linePos(offset).line)
  const refused = document.contents === null ? undefined : refusedOf(document.contents)
  if (refused !== undefined) {
    return Either.left(new BadFile({ file, line: lineAt(refused.at.range?.[0]), problem: refused.problem }))
  }
  /** Where the value is said: at its key, because an object begins in the line after it. */
  const nodeAt = (path: ReadonlyArray<string | number>): unknown => {
    const around = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true)
    const key = path.at(-1)
    if (!isMap(around)) return document.getIn(path, true)
    return around.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === String(key))?.key
  }
  const lineOf = (path: ReadonlyArray<string | number>): number => {
    for (let length = path.length; length > 0; length--) {
      const node = nodeAt(path.slice(0, length))
      if (isNode(node) && node.range != null) return lineAt(node.range[0])
    }
    return lineAt(document.contents?.range?.[0])
  }
  return Either.try({
    try: () => ({ file, lineOf, value: document.toJS({ maxAliasCount: -1 }) }),
    catch: (cause) => new BadFile({ file, line: lineOf([]), problem: messageOf(cause) })
  })
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** The documents of a text; none for those that are empty. */
export const parse = (file: string, text: string): Either.Either<ReadonlyArray<Said>, BadFile> =>
  Either.gen(function* () {
    const lines = new LineCounter()
    const documents = yield* Either.try({
      try: () => parseAllDocuments(text, { lineCounter: lines, merge: true, prettyErrors: false, logLevel: "error" }),
      catch: (cause) => new BadFile({ file, line: 1, problem: messageOf(cause) })
    })
    const found: Array<Said> = []
    for (const document of "empty" in documents ? [] : documents) {
      const [error] = document.errors
      if (error !== undefined) {
        const line = Math.max(1, lines.linePos(error.pos[0]).line)
        const remedy = isTemplate(text)
          ? ". It looks like a template: render it first, for example by helm template"
          : ""
        // The parser has no stack left.
        const problem = /call stack/.test(error.message) ? TOO_DEEP : `${error.message}${remedy}`
        return yield* Either.left(new BadFile({ file, line, problem }))
      }
      const one = yield* said(file, document, lines)
      if (one.value !== null) found.push(one)
    }
    return found
  })
