/** Curves of the last minutes, by uPlot, each with its numbers in words for those who do not see it. */

import { SPAN } from "./data.js"
import { h } from "./dom.js"

const HEIGHT = 150

/** Seconds that are shown while less is known. */
const LEAST = 60

const drawn = new Map()

const colorOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()

const options = ({ series, format }, width, span) => {
  const grid = { stroke: colorOf("line"), width: 1 }
  const axis = { stroke: colorOf("soft"), font: "11px system-ui, sans-serif", ticks: { show: false }, gap: 4 }
  return {
    width,
    height: HEIGHT,
    padding: [8, 16, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: {
      x: { time: false, range: [-span, 0] },
      y: { range: (_, __, most) => [0, Math.max(most * 1.1, 1)] }
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 26,
        gap: 8,
        splits: () => (span === LEAST ? [-45, -30, -15, 0] : [-240, -180, -120, -60, 0]),
        values: (_, splits) => splits.map(ago)
      },
      { ...axis, grid, size: 58, space: 32, values: (_, splits) => splits.map(format) }
    ],
    series: [
      {},
      ...series.map(({ color, dash, fill, name, width: line = 1.75 }) => ({
        label: name,
        stroke: colorOf(color),
        width: line,
        points: { show: false },
        ...(dash === undefined ? {} : { dash }),
        ...(fill === true ? { fill: `color-mix(in srgb, ${colorOf(color)} 14%, transparent)` } : {})
      }))
    ]
  }
}

const ago = (seconds) =>
  seconds > -1 ? "now" : seconds % 60 === 0 ? `−${seconds / -60} min` : `−${Math.round(-seconds)} s`

/** A curve that has just begun is not squeezed into a corner. */
const spanOf = (points) => {
  const seconds = points.length === 0 ? 0 : (points.at(-1).at - points[0].at) / 1_000
  return seconds < LEAST ? LEAST : SPAN
}

/** The points, at seconds before the last one. A break in the line shows where nothing was told. */
const columns = (points, series) => {
  const end = points.at(-1)?.at ?? 0
  const rows = points.flatMap((point, i) => {
    const before = points[i - 1]
    const gap = before !== undefined && point.at - before.at > 5_000 ? [{ at: before.at + 1, isGap: true }] : []
    return [...gap, point]
  })
  return [
    rows.map(({ at }) => (at - end) / 1_000),
    ...series.map(({ value }) => rows.map((row) => (row.isGap ? null : value(row))))
  ]
}

/** What somebody hears who does not see the curve. */
const inWords = ({ format, series, title }, points) => {
  const parts = series.map(({ name, value }) => {
    const values = points.map(value)
    const most = values.reduce((a, b) => Math.max(a, b), 0)
    return `${name}: now ${format(values.at(-1) ?? 0)}, highest ${format(most)}`
  })
  const seconds = points.length < 2 ? 0 : Math.round((points.at(-1).at - points[0].at) / 1_000)
  return `${title}, the last ${seconds} seconds. ${parts.join("; ")}.`
}

/** A place for the curve, with its legend. `paint` draws into it once it is in the page. */
export const curve = (spec, points) => [
  h("div", { key: spec.id, class: "curve", id: spec.id, role: "img", "aria-label": inWords(spec, points), hold: true }),
  h(
    "p",
    { class: "legend", "aria-hidden": "true" },
    spec.series.map(({ color, dash, name, value }) =>
      h(
        "span",
        {},
        h("i", { class: dash === undefined ? "line" : "line dashed", style: { "--color": `var(--${color})` } }),
        name,
        h("b", {}, points.length === 0 ? "" : spec.format(value(points.at(-1))))
      )
    )
  )
]

export const paint = (spec, points) => {
  const place = document.getElementById(spec.id)
  if (place === null) return
  const width = place.clientWidth
  if (width === 0) return
  const span = spanOf(points)
  const theme = `${colorOf("ink")} ${colorOf("line")} ${span}`
  const data = columns(points, spec.series)
  const known = drawn.get(spec.id)
  if (known !== undefined && known.place === place && known.theme === theme) {
    if (known.width !== width) known.plot.setSize({ width, height: HEIGHT })
    known.width = width
    known.plot.setData(data)
    return
  }
  known?.plot.destroy()
  drawn.set(spec.id, { place, theme, width, plot: new uPlot(options(spec, width, span), data, place) })
}
