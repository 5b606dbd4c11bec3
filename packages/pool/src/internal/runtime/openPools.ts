/**
 * The pools of this process that are not closed, and who watches them.
 */

/** Called for each pool, those that are open and those that are made later. What it gives is called when there is no more to watch. */
export type Attach = (pool: object) => () => void

interface Shared {
  readonly open: Set<object>
  readonly watchers: Set<Watcher>
}

/** One who watches, and what ends that for each pool. */
interface Watcher {
  readonly attach: Attach
  readonly attached: Map<object, () => void>
}

/** The number rises when what `Pool` and `Pools` need of a pool changes: a copy of the library of another version has pools of its own. */
const Key: unique symbol = Symbol.for("@sluice/pool/open/1")

const shared = (): Shared => {
  // Under a symbol, so that two copies of this library share it.
  const at = globalThis as { [Key]?: Shared }
  at[Key] ??= { open: new Set(), watchers: new Set() }
  return at[Key]
}

export const all = (): ReadonlyArray<object> => [...shared().open]

/** The pool is open until the function that this gives is called. */
export const add = (pool: object): (() => void) => {
  const { open, watchers } = shared()
  open.add(pool)
  for (const { attach, attached } of [...watchers]) attached.set(pool, attach(pool))
  return () => {
    open.delete(pool)
    for (const { attached } of [...watchers]) {
      const detach = attached.get(pool)
      attached.delete(pool)
      detach?.()
    }
  }
}

/** Until the function that this gives is called. */
export const watch = (attach: Attach): (() => void) => {
  const { open, watchers } = shared()
  const watcher: Watcher = { attach, attached: new Map() }
  watchers.add(watcher)
  for (const pool of [...open]) watcher.attached.set(pool, attach(pool))
  return () => {
    watchers.delete(watcher)
    const detaches = [...watcher.attached.values()]
    watcher.attached.clear()
    for (const detach of detaches) detach()
  }
}
