/** What the keys of `sluice top` change. */
import * as Top from "@sluice/observability/Top"

/** What a live board shows besides the reports. */
export interface View {
  readonly sort: Top.Sort
  readonly filter: string
  /** A filter is being typed. */
  readonly isTyping: boolean
  readonly scroll: number
  /** The reports of the moment at which it was pressed stay on the screen. */
  readonly isPaused: boolean
}

export const initial: View = { sort: "saturation", filter: "", isTyping: false, scroll: 0, isPaused: false }

/** A key as the terminal gives it. */
export interface Pressed {
  readonly name: string
  readonly ctrl: boolean
  /** What it would write. */
  readonly text: string
}

/** How far the board can be scrolled, and how many lines are seen at once. */
export interface Extent {
  readonly scrollMax: number
  readonly page: number
}

const scrolled = (view: View, by: number, { scrollMax }: Extent): View => ({
  ...view,
  scroll: Math.min(scrollMax, Math.max(0, view.scroll + by))
})

const LONGEST_FILTER = 60

const typed = (view: View, { name, text }: Pressed): View => {
  const filter = [...view.filter]
  switch (name) {
    case "return":
    case "enter":
      return { ...view, isTyping: false }
    case "escape":
      return { ...view, isTyping: false, filter: "", scroll: 0 }
    case "backspace":
      return { ...view, filter: filter.slice(0, -1).join(""), scroll: 0 }
    default:
      return /^[^\p{C}]+$/u.test(text) && filter.length < LONGEST_FILTER
        ? { ...view, filter: view.filter + text, scroll: 0 }
        : view
  }
}

/** The view after a key; `undefined`: the board ends. */
export const press = (view: View, key: Pressed, extent: Extent): View | undefined => {
  if (key.ctrl && (key.name === "c" || key.name === "d")) return undefined
  if (view.isTyping) return typed(view, key)
  switch (key.name) {
    case "q":
      return undefined
    case "p":
      return { ...view, isPaused: !view.isPaused }
    case "s":
      return { ...view, sort: Top.sorts[(Top.sorts.indexOf(view.sort) + 1) % Top.sorts.length]! }
    case "up":
      return scrolled(view, -1, extent)
    case "down":
      return scrolled(view, 1, extent)
    case "pageup":
      return scrolled(view, -extent.page, extent)
    case "pagedown":
      return scrolled(view, extent.page, extent)
    case "home":
      return { ...view, scroll: 0 }
    case "end":
      return { ...view, scroll: extent.scrollMax }
    case "escape":
      return { ...view, filter: "", scroll: 0 }
    default:
      return key.text === "/" ? { ...view, isTyping: true } : view
  }
}

/** The last line of the screen. */
export const footer = ({ filter, isTyping, sort }: View): string =>
  isTyping
    ? `filter: ${filter}▏  return keeps it, escape removes it`
    : `q quit  p pause  s sort: ${sort}  / filter${filter === "" ? "" : ` (escape: all)`}  ↑ ↓ scroll`
