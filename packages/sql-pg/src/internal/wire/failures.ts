/** The statement asks for something that this library does not do. */
export class Unsupported extends Error {}
