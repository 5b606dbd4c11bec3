/** How the command ends. The numbers are those of `sysexits.h`, where one fits. */
import { Data } from "effect"

/** Why the command ends with another code than 0. What is to be said of it has been said. */
export class Failed extends Data.TaggedError("Failed")<{ readonly code: number }> {}

/** The command line is wrong. */
export const USAGE = 64

/** No pod answers. */
export const UNAVAILABLE = 69

/** The command itself has failed. */
export const SOFTWARE = 70

/** What a shell expects of a program that a signal has ended. */
export const ofSignal = { SIGINT: 130, SIGTERM: 143 } as const
