// Loaded with `--import` into every process that measures: registers the hooks that turn our TypeScript sources into
// the JavaScript that a user of the built packages runs.
import { register } from "node:module"

register("./plainHooks.mjs", import.meta.url)
