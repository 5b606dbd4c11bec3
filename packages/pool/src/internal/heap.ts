/** What a `Heap` holds. */
export interface Placed {
  readonly at: number
  /** Its place in the heap; −1 when it is not there. Only the heap changes it. */
  index: number
}

/** A binary heap: the earliest is first, and each entry knows its place, so that it can be taken out of the middle. */
export class Heap<E extends Placed> {
  private readonly entries: Array<E> = []

  get first(): E | undefined {
    return this.entries[0]
  }

  push(entry: E): void {
    this.entries.push(entry)
    this.rise(entry, this.entries.length - 1)
  }

  /** The entry has become later. */
  delay(entry: E): void {
    this.sink(entry, entry.index)
  }

  remove(entry: E): void {
    const { index } = entry
    entry.index = -1
    const last = this.entries.pop()!
    if (last === entry) return
    if (last.at < entry.at) this.rise(last, index)
    else this.sink(last, index)
  }

  private rise(entry: E, index: number): void {
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = this.entries[above]!
      if (parent.at <= entry.at) break
      this.place(parent, index)
      index = above
    }
    this.place(entry, index)
  }

  private sink(entry: E, index: number): void {
    const { length } = this.entries
    for (let below = 2 * index + 1; below < length; below = 2 * index + 1) {
      if (below + 1 < length && this.entries[below + 1]!.at < this.entries[below]!.at) below++
      const child = this.entries[below]!
      if (child.at >= entry.at) break
      this.place(child, index)
      index = below
    }
    this.place(entry, index)
  }

  private place(entry: E, index: number): void {
    this.entries[index] = entry
    entry.index = index
  }
}
