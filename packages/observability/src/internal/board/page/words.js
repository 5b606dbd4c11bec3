/** How numbers are written: as on every board (`internal/words.ts`; a test holds them against each other). */

/** Milliseconds as people say them: `0 ms`, `350 ms`, `4.2 s`, `75 s`, `12 min`, `3.5 h`. */
export const duration = (ms) => {
  if (ms < 999.5) return `${ms > 0 && ms < 9.95 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`
  if (ms < 9_950) return `${Number((ms / 1_000).toFixed(1))} s`
  if (ms < 119_500) return `${Math.round(ms / 1_000)} s`
  if (ms < 7_170_000) return `${Math.round(ms / 60_000)} min`
  return `${Number((ms / 3_600_000).toFixed(1))} h`
}

/** A share of 1 as `83 %`. What is neither none nor all is not written as such: `0.4 %`, `99.9 %`. */
export const percent = (share) => {
  const percents = share * 100
  const isNearEnd = (percents > 0 && percents < 1) || (percents > 99 && percents < 100)
  return `${isNearEnd ? Math.min(99.9, Math.max(0.1, Number(percents.toFixed(1)))) : Math.round(percents)} %`
}

/** `1 caller`, `2 callers`. */
export const counted = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`

/** `12,345`. */
export const count = (n) => n.toLocaleString("en-US")

/** `idleInTransaction` as `idle in transaction`; names of errors stay as they are, because people search for them. */
export const spaced = (name) => name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)

export const sum = (values) => values.reduce((total, value) => total + value, 0)

export const most = (values) => values.reduce((most, value) => Math.max(most, value), 0)
