/** `npx pnpm demo:abort`: see README.md. */
import { start } from "@sluice/example-program"

start({
  command: "demo:abort",
  about: "clients that leave at once, by curl --max-time 0.001, and a server that gives each request a connection.",
  nothing:
    "flood the middleware of the report, its fix, and Sluice, with healthy clients beside; exit code 0 if every claim held",
  examples: [
    ["demo:abort", "watch it"],
    ["demo:abort > abort.txt", "keep what it prints"]
  ],
  main: async () => {
    const { main } = await import("./Show.js")
    return () => main
  }
})
