/**
 * `layer` of @effect/vitest writes its runtime into the `it` that all files of a process share: a file that came later would
 * run its `it.effect` on a Layer that is closed, without a test clock. So each file begins with the methods as they were.
 */
import { it, makeMethods } from "@effect/vitest"

makeMethods(it)
