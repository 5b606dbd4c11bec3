/** `npx pnpm demo:recover`: see README.md. */
import { start } from "@sluice/example-program"

start({
  command: "demo:recover",
  about: `the pool that never recovers. A database restarts under load, and a primary crashes and is replaced;
Sequelize 6 and Sluice live through both side by side, with the same configuration.`,
  nothing: "run it, compare, then judge; exit code 0 if every claim held",
  examples: [
    ["demo:recover", "watch it"],
    ["demo:recover > recover.txt", "without a terminal it writes two lines a second"],
    ["NO_COLOR=1 npx pnpm demo:recover", "without colors"]
  ],
  main: async () => {
    const { main } = await import("./Show.js")
    return () => main
  }
})
