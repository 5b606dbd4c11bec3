/** Finds files that import each other. */
import { posix } from "node:path"
import { importsOf } from "./source.js"

/** Which files each file imports. */
type Arrows = ReadonlyMap<string, ReadonlyArray<string>>

/** The files that a specifier may mean: a relative path, or `@sluice/<package>` with or without a module. */
const candidates = (file: string, specifier: string): ReadonlyArray<string> => {
  if (specifier.startsWith(".")) return [posix.join(posix.dirname(file), specifier).replace(/\.js$/, ".ts")]
  const [, name, module = "index"] = /^@sluice\/([^/]+)(?:\/(.+))?$/.exec(specifier) ?? []
  return name === undefined ? [] : [`packages/${name}/src/${module}.ts`, `packages/${name}/src/${module}/index.ts`]
}

const arrowsOf = (files: ReadonlyMap<string, string>): Arrows =>
  new Map(
    [...files].map(([file, source]) => [file, importsOf(source).flatMap((specifier) => candidates(file, specifier))])
  )

/** The shortest way along the arrows, both ends included. */
const wayOf = (arrows: Arrows, from: string, to: string): ReadonlyArray<string> | undefined => {
  const ways = new Map([[from, [from]]])
  for (const [file, way] of ways) {
    if (file === to) return way
    for (const next of arrows.get(file) ?? []) if (!ways.has(next)) ways.set(next, [...way, next])
  }
  return undefined
}

/** The file nearest to a package's face comes first, so that the arrow which leads back up to it is the one to cut. */
const byFace = (a: string, b: string): number => a.split("/").length - b.split("/").length || (a < b ? -1 : 1)

/**
 * For each arrow to cut the shortest circle that it closes, as "a.ts → b.ts → a.ts: cut b.ts → a.ts". The files are given
 * by their path from the root, with `/`.
 */
export const circlesOf = (files: ReadonlyMap<string, string>): ReadonlyArray<string> => {
  const arrows = arrowsOf(files)
  const shortest = new Map<string, ReadonlyArray<string>>()
  for (const [file, targets] of arrows) {
    for (const target of targets) {
      const way = wayOf(arrows, target, file)
      if (way === undefined) continue
      const first = way.indexOf([...way].sort(byFace)[0]!)
      const circle = [...way.slice(first), ...way.slice(0, first), way[first]!]
      const cut = circle.slice(-2).join(" → ")
      if (circle.length < (shortest.get(cut)?.length ?? Infinity)) shortest.set(cut, circle)
    }
  }
  return [...shortest].map(([cut, circle]) => `${circle.join(" → ")}: cut ${cut}`).sort((a, b) => a.length - b.length)
}
