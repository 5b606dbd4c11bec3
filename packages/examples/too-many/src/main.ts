/** `npx pnpm demo:too-many`: see README.md. */
import { start } from "@sluice/example-program"

start({
  command: "demo:too-many",
  about: "40 requests at once, and a MariaDB that has room for 10 connections.",
  nothing: "run the requests with a connection each, then on a pool of 5; exit code 0 if every claim held",
  examples: [
    ["demo:too-many", "watch it"],
    ["demo:too-many > too-many.txt", "keep what it prints"]
  ],
  main: async () => {
    const { main } = await import("./Show.js")
    return () => main
  }
})
