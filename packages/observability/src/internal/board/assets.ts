/**
 * The page: one document with its styles and its program inside, so that a browser asks for nothing else. The parts are files in `page`, read
 * once, when a board is made.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { Effect } from "effect"
import type * as Panels from "../../Panels.js"

/** What the page's program is told. */
export interface Told {
  readonly title: string
  readonly panels: ReadonlyArray<Panels.Panel>
  readonly words: typeof Panels.words
  readonly rights: string
  readonly who: string
  /** What it must send with each action. `undefined`: this viewer may not act. */
  readonly forgeryToken: string | undefined
  /** Whether somebody could sign in here. */
  readonly canSignIn: boolean
  readonly canSignOut: boolean
  /** Which of the processes can be acted upon. */
  readonly self: { readonly pod: string; readonly pid: number }
  readonly thresholds: unknown
}

export interface Pages {
  readonly board: (told: Told) => string
  readonly signIn: (title: string, problem: string | undefined) => string
  readonly policy: string
}

/** The program's modules, those that are imported before those that import them. */
const modules = ["dom", "words", "data", "curves", "places", "panels", "actions", "page"]

const styles = ["look", "parts", "narrow"]

const partOf = (name: string): string => readFileSync(new URL(`./page/${name}`, import.meta.url), "utf8")

/** One script of several modules: their names are all different, so nothing but the words `import` and `export` is in the way. */
const joined = (names: ReadonlyArray<string>): string =>
  names
    .map((name) => partOf(`${name}.js`))
    .join("\n")
    .replaceAll(/^import [^;]*? from "\.\/[\w.]+"$/gm, "")
    .replaceAll(/^export /gm, "")

const hashOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/** A text in HTML. */
const escaped = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

/** JSON that can stand in a script element. */
const island = (value: unknown): string => JSON.stringify(value).replaceAll("<", "\\u003c")

const titled = (part: string, title: string): string => part.replace("{title}", () => escaped(title))

const documentOf = (title: string, style: string, body: string): string =>
  [
    "<!doctype html>",
    '<html lang="en">',
    "<head>",
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    `<title>${escaped(title)}</title>`,
    '<link rel="icon" href="data:,">',
    `<style>${style}</style>`,
    "</head>",
    `<body>${body}</body>`,
    "</html>"
  ].join("\n")

export const load: Effect.Effect<Pages> = Effect.sync(() => {
  const read = createRequire(import.meta.url)
  const uPlot = (file: string) => readFileSync(read.resolve(`uplot/dist/${file}`), "utf8")
  const board = partOf("board.html")
  const signIn = partOf("signIn.html")
  const style = [uPlot("uPlot.min.css"), ...styles.map((name) => partOf(`${name}.css`))].join("\n")
  const script = `${uPlot("uPlot.iife.min.js")}\n(() => {\n"use strict"\n${joined(modules)}\n})()`
  return {
    board: (told) =>
      documentOf(
        told.title,
        style,
        `${titled(board, told.title)}<script type="application/json" id="told">${island(told)}</script><script>${script}</script>`
      ),
    signIn: (title, problem) =>
      documentOf(
        title,
        style,
        titled(signIn, title).replace("{problem}", () => escaped(problem ?? ""))
      ),
    policy: [
      "default-src 'none'",
      `script-src ${hashOf(script)}`,
      `style-src ${hashOf(style)}`,
      "img-src data:",
      "connect-src 'self'",
      "form-action 'self'",
      "base-uri 'none'",
      "frame-ancestors 'none'"
    ].join("; ")
  }
})
