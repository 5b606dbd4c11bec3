/** How numbers are written on every board. */

/** Milliseconds as people say them: `0 ms`, `350 ms`, `4.2 s`, `75 s`, `12 min`, `3.5 h`. */
export const duration = (ms: number): string => {
  if (ms < 999.5) return `${ms > 0 && ms < 9.95 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`
  if (ms < 9_950) return `${Number((ms / 1_000).toFixed(1))} s`
  if (ms < 119_500) return `${Math.round(ms / 1_000)} s`
  if (ms < 7_170_000) return `${Math.round(ms / 60_000)} min`
  return `${Number((ms / 3_600_000).toFixed(1))} h`
}

/** A share of 1 as `83 %`. What is neither none nor all is not written as such: `0.4 %`, `99.9 %`. */
export const percent = (share: number): string => {
  const percents = share * 100
  const isNearEnd = (percents > 0 && percents < 1) || (percents > 99 && percents < 100)
  return `${isNearEnd ? Math.min(99.9, Math.max(0.1, Number(percents.toFixed(1)))) : Math.round(percents)} %`
}

/** `1 caller`, `2 callers`. */
export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

/** A rate as `0.4`, `12`, `3,400`. */
export const rate = (perSecond: number): string =>
  perSecond < 9.95 ? String(Number(perSecond.toFixed(1))) : Math.round(perSecond).toLocaleString("en-US")
