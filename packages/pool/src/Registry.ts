/**
 * What is open in this process, whoever has opened it: `Pools` and `Sources` of `@sluice/sql` are made of it.
 *
 * It is kept under a global symbol, so that two copies of this library in one process share it.
 *
 * @since 0.2.0
 */

/**
 * Called for each thing that is open. What it gives is called once, when there is no more to watch.
 *
 * @since 0.2.0
 * @category models
 */
export type Attach<in A> = (one: A) => () => void

/**
 * Everything that is open under one key.
 *
 * @since 0.2.0
 * @category models
 */
export interface Registry<in out A> {
  /** In the order in which they were opened. */
  readonly all: () => ReadonlyArray<A>
  /** It is open until the function that this gives is called. */
  readonly add: (one: A) => () => void
  /**
   * Calls `attach` for what is open, and for what is opened later. What that gives is called when it is no longer open, or when the
   * watch ends. The watch ends when the function that this gives is called.
   */
  readonly watch: (attach: Attach<A>) => () => void
}

interface Watcher<in out A> {
  readonly attach: Attach<A>
  /** What ends the watch for each of those that are open. */
  readonly attached: Map<A, () => void>
}

interface Shared<in out A> {
  readonly open: Set<A>
  readonly watchers: Set<Watcher<A>>
}

/**
 * The registry of a key. The name of the key has a number that rises when others need more of what is in it: then a copy of the
 * library of another version has a registry of its own.
 *
 * **When to use:** in a library whose things have to be seen from elsewhere, whatever their programs hand around.
 *
 * - Nothing is made before something is opened or watched.
 *
 * @see `Pools` for the pools of the process.
 * @since 0.2.0
 * @category constructors
 */
export const make = <A>(key: string): Registry<A> => {
  const symbol = Symbol.for(key)
  const shared = (): Shared<A> => {
    const at = globalThis as { [key: symbol]: Shared<A> | undefined }
    at[symbol] ??= { open: new Set(), watchers: new Set() }
    return at[symbol]
  }
  return {
    all: () => [...shared().open],
    add: (one) => {
      const { open, watchers } = shared()
      open.add(one)
      for (const { attach, attached } of [...watchers]) attached.set(one, attach(one))
      return () => {
        open.delete(one)
        for (const { attached } of [...watchers]) {
          const detach = attached.get(one)
          attached.delete(one)
          detach?.()
        }
      }
    },
    watch: (attach) => {
      const { open, watchers } = shared()
      const attached = new Map<A, () => void>()
      const watcher: Watcher<A> = { attach, attached }
      watchers.add(watcher)
      for (const one of [...open]) attached.set(one, attach(one))
      return () => {
        watchers.delete(watcher)
        const detaches = [...attached.values()]
        attached.clear()
        for (const detach of detaches) detach()
      }
    }
  }
}
