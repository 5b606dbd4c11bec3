/** Whether this output is a terminal that moves its cursor and draws lines anywhere. */
export const isScreen = (out: NodeJS.WriteStream): boolean => out.isTTY === true && process.env["TERM"] !== "dumb"

/** Whether it shows colours, and its user wants them: see https://no-color.org. */
export const hasColours = (out: NodeJS.WriteStream): boolean => isScreen(out) && (process.env["NO_COLOR"] ?? "") === ""
