/**
 * Why no plan could be made. Each error knows the exit code of the command, by the convention of `sysexits.h`.
 *
 * | error | exit code | when |
 * | --- | --- | --- |
 * | `BadUsage` | 64 | flags that contradict each other or say nothing |
 * | `InvalidInput` | 64 | a number that is out of its range, or a name that does not exist |
 * | `BadFile` | 65 | a deployment file that cannot be planned: its syntax, its values, its size |
 * | `UnreadableFile` | 66 | a file that does not exist or may not be read |
 * | `BadConfig` | 78 | the same as `BadFile`, in a `sluice.yaml` |
 *
 * @since 0.2.0
 */
import { Data } from "effect"

/**
 * The flags say too little, or contradict each other.
 *
 * @since 0.2.0
 * @category errors
 */
export class BadUsage extends Data.TaggedError("BadUsage")<{ readonly problem: string }> {
  readonly exitCode = 64
  override get message(): string {
    return this.problem
  }
}

/**
 * Numbers that no plan can be made of. It lists every problem.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidInput extends Data.TaggedError("InvalidInput")<{ readonly problems: ReadonlyArray<string> }> {
  readonly exitCode = 64
  override get message(): string {
    return this.problems.join("\n")
  }
}

/**
 * A deployment file that cannot be planned.
 *
 * - `line`: where the problem is; the first line is 1.
 *
 * @since 0.2.0
 * @category errors
 */
export class BadFile extends Data.TaggedError("BadFile")<{
  readonly file: string
  readonly line: number
  readonly problem: string
}> {
  readonly exitCode = 65
  override get message(): string {
    return `${this.file}:${this.line}: ${this.problem}`
  }
}

/**
 * A `sluice.yaml` that cannot be planned.
 *
 * @since 0.2.0
 * @category errors
 */
export class BadConfig extends Data.TaggedError("BadConfig")<{
  readonly file: string
  readonly line: number
  readonly problem: string
}> {
  readonly exitCode = 78
  override get message(): string {
    return `${this.file}:${this.line}: ${this.problem}`
  }
}

/**
 * A file that does not exist, or may not be read.
 *
 * @since 0.2.0
 * @category errors
 */
export class UnreadableFile extends Data.TaggedError("UnreadableFile")<{
  readonly file: string
  readonly cause: unknown
}> {
  readonly exitCode = 66
  override get message(): string {
    const cause = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `${this.file}: the file cannot be read: ${cause}`
  }
}

/**
 * Everything that keeps a plan from being made.
 *
 * @since 0.2.0
 * @category errors
 */
export type PlanError = BadUsage | InvalidInput | BadFile | BadConfig | UnreadableFile
