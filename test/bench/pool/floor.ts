/** The least that a pool can do, by hand: an array of free resources and a linked list of those who wait. */
import type { Start } from "../harness/subject.js"
import { type PromisePool, promiseSubjects } from "./promises.js"
import { expectUses, type PoolSettings, Resource } from "./settings.js"

interface Node {
  readonly take: (resource: Resource) => void
  next: Node | undefined
}

export class Floor {
  readonly free: Array<Resource> = []
  waiting = 0
  private head: Node | undefined
  private tail: Node | undefined

  constructor(size: number) {
    for (let i = 0; i < size; i++) this.free.push(new Resource())
  }

  take(): Resource | undefined {
    return this.free.pop()
  }

  park(take: (resource: Resource) => void): void {
    const node: Node = { take, next: undefined }
    if (this.tail === undefined) this.head = node
    else this.tail.next = node
    this.tail = node
    this.waiting++
  }

  give(resource: Resource): void {
    const first = this.head
    if (first === undefined) {
      this.free.push(resource)
      return
    }
    this.head = first.next
    if (this.head === undefined) this.tail = undefined
    this.waiting--
    first.take(resource)
  }
}

export const sync: Start<PoolSettings> = ({ size }) => {
  const floor = new Floor(size)
  return {
    run: (calls) => {
      let uses = 0
      for (let i = 0; i < calls; i++) {
        const resource = floor.take()!
        resource.uses++
        uses++
        floor.give(resource)
      }
      expectUses(uses, calls)
    }
  }
}

const open = (size: number): PromisePool<Resource> => {
  const floor = new Floor(size)
  return {
    acquire: () => {
      const resource = floor.take()
      if (resource !== undefined) return Promise.resolve(resource)
      return new Promise((resolve) => floor.park(resolve))
    },
    release: (resource) => floor.give(resource),
    waiting: () => floor.waiting,
    close: () => undefined
  }
}

export const { contended, memory, queue, uncontended } = promiseSubjects(open)
