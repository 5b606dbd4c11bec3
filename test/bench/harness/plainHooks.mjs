// tsx keeps the names of functions: it wraps every closure, wherever it is made, in a call of
// `Object.defineProperty`. The built packages do not do that, and neither do the peers, which are JavaScript already:
// a pool that makes one closure for each acquire would seem several times slower than it is. So the measuring
// processes strip types with the same esbuild, without names.
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { transform } from "esbuild"

export const resolve = async (specifier, context, next) => {
  try {
    return await next(specifier, context)
  } catch (error) {
    // Sources import each other as `./x.js`, which is the name of the built file.
    if (error.code !== "ERR_MODULE_NOT_FOUND" || !specifier.endsWith(".js")) throw error
    return next(`${specifier.slice(0, -3)}.ts`, context)
  }
}

export const load = async (url, context, next) => {
  if (!url.endsWith(".ts")) return next(url, context)
  const source = await readFile(fileURLToPath(url), "utf8")
  const { code } = await transform(source, {
    loader: "ts",
    format: "esm",
    target: "node20",
    sourcefile: url,
    sourcemap: "inline"
  })
  return { format: "module", source: code, shortCircuit: true }
}
