/** Where the servers are: what both sides are told. */
export interface Endpoint {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: string
}

export interface Endpoints {
  readonly write: Endpoint
  readonly read: Endpoint
}
