/** `npx pnpm demo`: see README.md. */
import { start } from "@sluice/example-program"

start({
  command: "demo",
  about: "a payments service on a primary and a replica, under load and faults.",
  nothing: "run load and faults against it for a good half minute, then judge; exit code 0 if every claim held",
  flags: { "--serve": "only start it, and keep it running until Ctrl-C" },
  examples: [
    ["demo", "watch it"],
    ["demo > demo.txt", "without a terminal it writes a line a second"],
    ["NO_COLOR=1 npx pnpm demo", "without colors"],
    ["demo --serve", "then send requests yourself"]
  ],
  main: async () => {
    const { demo, serve } = await import("./Show.js")
    return (flags) => (flags.has("--serve") ? serve : demo)
  }
})
