/** `npx pnpm demo:watch`: see README.md. */
import { start } from "@sluice/example-program"

start<"--serve">({
  command: "demo:watch",
  about: "four pools of five connections that are used up, each for another reason, and three places that say why.",
  nothing: "use up each pool once and compare what is said; exit code 0 if every claim held",
  flags: { "--serve": "go on until Ctrl-C, with the board in a browser" },
  examples: [
    ["demo:watch", "watch it"],
    ["demo:watch --serve", "look at the board while it happens"],
    ["demo:watch > watch.txt", "keep what it prints"]
  ],
  main: async () => {
    const { main, serve } = await import("./Show.js")
    return (flags) => (flags.has("--serve") ? serve : main)
  }
})
