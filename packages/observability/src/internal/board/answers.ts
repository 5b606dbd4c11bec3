/** Responses of a board. */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"

const shared = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  // With `no-referrer` a browser would not say either which page has sent a form.
  "referrer-policy": "same-origin",
  // What another site could learn by opening the page in a window of its own.
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin"
}

export const html = (body: string, policy: string, status = 200): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(body, {
    status,
    contentType: "text/html; charset=utf-8",
    headers: { ...shared, "content-security-policy": policy, vary: "cookie, authorization" }
  })

export const json = (text: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(text, { contentType: "application/json", headers: shared })

/** An answer for people who look at what a command has printed. */
export const refused = (
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {}
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(`${message}\n`, {
    status,
    contentType: "text/plain; charset=utf-8",
    headers: { ...shared, ...headers }
  })

export const eventHeaders = {
  ...shared,
  // Proxies that collect a response before they pass it on would hold all events back.
  "x-accel-buffering": "no"
}
