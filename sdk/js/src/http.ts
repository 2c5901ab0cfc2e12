import { TidingsError } from "./errors.js";
import type { ProblemDetails } from "./generated/api.js";
import type { TokenSource } from "./token.js";

/** A request that takes longer has failed, in milliseconds. */
const TIMEOUT_MS = 20_000;

/** Asks the HTTP API as the user. */
export class Http {
  constructor(
    private readonly base: string,
    private readonly tokens: TokenSource,
    private readonly fetch: typeof globalThis.fetch,
  ) {}

  /** GETs `path`. A token that is refused is renewed once. */
  get<T>(path: string): Promise<T> {
    return this.#ask<T>("GET", path);
  }

  /** POSTs `body` to `path`. */
  post<T>(path: string, body: unknown): Promise<T> {
    return this.#ask<T>("POST", path, JSON.stringify(body));
  }

  async #ask<T>(method: string, path: string, body?: string): Promise<T> {
    const token = await this.#token();
    let answer = await this.#send(method, path, token, body);
    if (answer.status === 401 && this.tokens.canRenew) {
      this.tokens.refuse(token);
      answer = await this.#send(method, path, await this.#token(), body);
    }
    if (answer.ok) return bodyOf<T>(answer);
    const problem = await problemOf(answer);
    const code =
      answer.status === 401 ? "unauthenticated" : answer.status === 403 ? "forbidden" : "http";
    const detail = problem.detail || problem.title;
    throw new TidingsError(code, detail, false, problem, undefined, retryAfterMs(answer.headers));
  }

  async #token(): Promise<string> {
    try {
      return await this.tokens.current();
    } catch (cause) {
      throw networkError("there is no token", cause);
    }
  }

  async #send(method: string, path: string, token: string, body?: string): Promise<Response> {
    const headers: Record<string, string> = { authorization: `Bearer ${token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    // Called bare: browsers refuse fetch as a method of another object.
    const { fetch } = this;
    try {
      return await fetch(`${this.base}${path}`, {
        method,
        headers,
        signal: AbortSignal.timeout(TIMEOUT_MS),
        ...(body === undefined ? {} : { body }),
      });
    } catch (cause) {
      throw networkError("the server was not reached", cause);
    }
  }
}

/** Something on the way has failed, and may work later: what was asked can be asked again. */
function networkError(message: string, cause: unknown): TidingsError {
  return new TidingsError("network", message, false, undefined, { cause });
}

async function bodyOf<T>(answer: Response): Promise<T> {
  try {
    return (await answer.json()) as T;
  } catch (cause) {
    throw networkError("the answer could not be read", cause);
  }
}

/** What `Retry-After` says in seconds, up to an hour; 0 when it says nothing. */
function retryAfterMs(headers: Headers): number {
  const seconds = Number(headers.get("retry-after") ?? 0);
  return seconds > 0 ? Math.min(seconds, 3_600) * 1_000 : 0;
}

async function problemOf(answer: Response): Promise<ProblemDetails> {
  const { status } = answer;
  const said = (await answer.json().catch(() => ({}))) as Partial<ProblemDetails>;
  const title = answer.statusText || `HTTP ${status}`;
  return { type: "about:blank", title, detail: "", ...said, status };
}
