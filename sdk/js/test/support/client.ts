import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import type { ConnectOptions, TidingsError, WebSocketConstructor } from "../../src/index.js";
import { until } from "./until.js";

/** A client that comes back fast, with what it has told so far. */
export function openClient(url: string, options: Partial<ConnectOptions> = {}) {
  const client = connect({
    url,
    ...(options.tokenProvider ? {} : { token: "user:u" }),
    WebSocket: WebSocket as unknown as WebSocketConstructor,
    backoff: { baseMs: 1, capMs: 5 },
    ...options,
  });
  const seqs: number[] = [];
  const errors: TidingsError[] = [];
  client.on("notification", ({ seq }) => seqs.push(seq));
  client.on("error", (error) => errors.push(error));
  return { client, seqs, errors, reached: (n: number) => until(`seq ${n}`, () => seqs.at(-1) === n) };
}
