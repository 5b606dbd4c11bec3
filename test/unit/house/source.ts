/** Reads TypeScript as text: no compiler is loaded, and types count like values. */

/** A comment, a string, a regular expression, or a character at which a template or a brace begins or ends. */
const piece =
  /\/\*[\s\S]*?\*\/|\/\/.*|(["'])(?:\\.|(?!\1)[^\\\n])*\1|(?<=[(,=:[!&|?{};>]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/|[`{}]/g

/** The text of a template, up to its end or to the next `${`. */
const templateText = /(?:\\[\s\S]|\$(?!\{)|[^`\\$])*(?:`|\$\{)/y

const blank = (text: string): string => text.replaceAll(/[^\n]/g, " ")

/**
 * The code alone: comments and the insides of strings, templates and regular expressions become spaces. Every character
 * of the code keeps its position.
 */
export const codeOf = (source: string): string => {
  let code = ""
  let at = 0
  /** For each template that is open: how many braces are open inside of its present `${…}`. */
  const templates: Array<number> = []
  const skip = (end: number) => {
    code += blank(source.slice(at, end))
    at = end
  }
  const skipTemplateText = () => {
    templateText.lastIndex = at
    const text = templateText.exec(source)?.[0] ?? source.slice(at)
    skip(at + text.length)
    if (text.endsWith("${")) templates.push(0)
  }
  for (;;) {
    piece.lastIndex = at
    const found = piece.exec(source)
    if (found === null) return code + source.slice(at)
    const [text, quote] = found
    code += source.slice(at, found.index)
    at = found.index
    const depth = templates.at(-1)
    if (quote !== undefined) {
      code += quote + blank(text.slice(1, -1)) + quote
      at += text.length
    } else if (text === "`") {
      skip(at + 1)
      skipTemplateText()
    } else if (text === "}" && depth === 0) {
      templates.pop()
      skip(at + 1)
      skipTemplateText()
    } else if (text === "{" || text === "}") {
      if (depth !== undefined) templates.push(templates.pop()! + (text === "{" ? 1 : -1))
      code += text
      at++
    } else skip(at + text.length)
  }
}

/** What a file imports: `import`, `import type`, `export … from` and `import()`, of values and of types. */
export const importsOf = (source: string): ReadonlyArray<string> =>
  [...codeOf(source).matchAll(/\b(?:from\s*|import\s*\(?\s*)(["'])( *)\1/dg)].map((found) =>
    source.slice(...found.indices![2]!)
  )

/** Time, chance, output and fibers that a file takes past the services of Effect. */
const past =
  /\bDate\.now\b|\bsetTimeout\b|\bsetInterval\b|\bMath\.random\b|\bconsole\.|\bEffect\.runFork\b|\bRuntime\.runFork\b/g

/**
 * Each of them that is in the code of a file, with its line. `Runtime.runFork` is allowed in a file that knows the
 * `Scope` which ends the fiber.
 */
export const pastEffect = (source: string): ReadonlyArray<string> => {
  const code = codeOf(source)
  const isScoped = /\bScope\b/.test(code)
  return [...code.matchAll(past)]
    .filter(([word]) => !(word === "Runtime.runFork" && isScoped))
    .map((found) => `${found[0]} in line ${code.slice(0, found.index).split("\n").length}`)
}
