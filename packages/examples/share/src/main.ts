/** `npx pnpm demo:share`: see README.md. */
import { start } from "@sluice/example-program"

start({
  command: "demo:share",
  about: "a background job with a pool of its own, and what becomes of the requests; then both on one pool.",
  nothing: "run both, then a flood of background work, and judge; exit code 0 if every claim held",
  examples: [
    ["demo:share", "watch it"],
    ["demo:share > share.txt", "keep what it prints"]
  ],
  main: async () => {
    const { main } = await import("./Show.js")
    return () => main
  }
})
