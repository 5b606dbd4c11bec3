/** How a response of Node's own servers is given. */
import type { Writable } from "node:stream"
import { Effect } from "effect"
import type { Response } from "../ClientGone.js"
import type { Reply } from "./exchange.js"

/** A cookie of ours does not replace those of the program. */
export const addHeader = (response: Response, name: string, value: string): void => {
  if (response.headersSent) return
  const before = name === "set-cookie" ? response.getHeader(name) : undefined
  response.setHeader(name, before === undefined ? value : [before, value].flat().map(String))
}

const isPlain = (body: unknown): body is string | Uint8Array => typeof body === "string" || body instanceof Uint8Array

export const reply = (response: Response): Reply => ({
  status: () => response.statusCode,
  setStatus: (status) => {
    response.statusCode = status
  },
  addHeader: (name, value) => addHeader(response, name, value),
  send: (body) => {
    if (body === undefined || response.writableEnded) return
    if (isPlain(body)) return void (response as Writable).end(body)
    if (!response.hasHeader("content-type")) addHeader(response, "content-type", "application/json")
    ;(response as Writable).end(JSON.stringify(body))
  },
  open: () => response as Writable,
  fail: (cause) =>
    Effect.zipRight(
      Effect.logError("a handler has failed", cause),
      Effect.sync(() => {
        if (response.headersSent) return void response.destroy()
        response.statusCode = 500
        addHeader(response, "content-type", "application/json")
        ;(response as Writable).end(JSON.stringify({ error: "InternalServerError" }))
      })
    )
})
