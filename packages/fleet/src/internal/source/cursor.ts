/** A value of a document and the way to it, so that what is wrong with it is told with its line. */
import { OptionTable } from "@sluice/pool"
import { Either, Schema } from "effect"
import { BadFile } from "../../PlanError.js"
import { Share } from "../../PlanInput.js"
import type { Source } from "../../PlanReport.js"
import type { Said } from "./yaml.js"

export type Read<A> = Either.Either<A, BadFile>

export class Cursor {
  private constructor(
    private readonly said: Said,
    private readonly path: ReadonlyArray<string | number>,
    readonly value: unknown
  ) {}

  static of(said: Said): Cursor {
    return new Cursor(said, [], said.value)
  }

  /** The value under these keys. It is `undefined` if something on the way there is no object. */
  get(...keys: ReadonlyArray<string | number>): Cursor {
    let value = this.value
    for (const key of keys) {
      const isHere = typeof value === "object" && value !== null && Object.hasOwn(value, key)
      value = isHere ? (value as Readonly<Record<string | number, unknown>>)[key] : undefined
    }
    return new Cursor(this.said, [...this.path, ...keys], value)
  }

  /** The elements of a list; none if it is no list. */
  get items(): ReadonlyArray<Cursor> {
    return Array.isArray(this.value) ? this.value.map((_, i) => this.get(i)) : []
  }

  /** The values of an object, by name; none if it is no object. */
  get entries(): ReadonlyArray<readonly [string, Cursor]> {
    const { value } = this
    if (typeof value !== "object" || value === null || Array.isArray(value)) return []
    return Object.keys(value).map((key) => [key, this.get(key)])
  }

  get isAbsent(): boolean {
    return this.value === undefined || this.value === null
  }

  /** A text, or a number as a text. */
  get text(): string | undefined {
    return typeof this.value === "string" || typeof this.value === "number" ? String(this.value) : undefined
  }

  get source(): Source {
    return { file: this.said.file, line: this.said.lineOf(this.path) }
  }

  get name(): string {
    return this.path.filter((part) => typeof part === "string").join(".")
  }

  bad(problem: string): BadFile {
    return new BadFile({ ...this.source, problem })
  }

  refuse(must: string): Either.Either<never, BadFile> {
    return Either.left(this.bad(`${this.name} must be ${must}, and is ${OptionTable.shown(this.value)}`))
  }
}

/** A whole number; `undefined` if nothing is said. */
export const whole = (at: Cursor, least: number, most: number): Read<number | undefined> => {
  if (at.isAbsent) return Either.right(undefined)
  const { value } = at
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most
    ? Either.right(value)
    : at.refuse(`a whole number from ${least} to ${most}`)
}

/** As `whole`, where files say numbers as texts: labels, annotations, environment. */
export const wholeText = (at: Cursor, least: number, most: number): Read<number | undefined> => {
  if (at.isAbsent) return Either.right(undefined)
  const n = /^\s*\d{1,9}\s*$/.test(at.text ?? "") ? Number(at.text) : Number.NaN
  return n >= least && n <= most ? Either.right(n) : at.refuse(`a whole number from ${least} to ${most}`)
}

/** A number of pods or a percentage of them; `undefined` if nothing is said. */
export const share = (at: Cursor): Read<number | string | undefined> => {
  if (at.isAbsent) return Either.right(undefined)
  return Schema.is(Share)(at.value)
    ? Either.right(at.value)
    : at.refuse('a whole number from 0 to 262143, or a percentage from "0%" to "100%"')
}
