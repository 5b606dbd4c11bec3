/** A flood of clients that leave at once: a real `curl --max-time 0.001`. */
import { spawn } from "node:child_process"
import { Effect } from "effect"

/** One process that makes so many requests, one after the other, each on a connection of its own that it leaves after a millisecond. */
const leaving = (url: string, count: number, isPost: boolean): Effect.Effect<void> =>
  Effect.async((resume) => {
    const body = isPost ? ["--json", '{"a":1}'] : []
    const child = spawn("curl", ["-s", "-o", "/dev/null", "--max-time", "0.001", ...body, `${url}?n=[1-${count}]`], {
      stdio: "ignore"
    })
    // Every exit code is right: 28 says that it has left.
    child.once("close", () => resume(Effect.void))
    child.once("error", (error) => resume(Effect.die(error)))
    return Effect.sync(() => void child.kill())
  })

/** So many requests, half of them POSTs with a body. */
export const flood = (url: string, count: number): Effect.Effect<void> =>
  Effect.forEach([false, true, false, true], (isPost) => leaving(url, count / 4, isPost), {
    concurrency: "unbounded",
    discard: true
  })
