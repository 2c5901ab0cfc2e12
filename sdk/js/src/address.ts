/** Where a server is reached. */
export interface Address {
  /** Of the HTTP API, without a slash at the end. */
  readonly http: string;
  /** Of the stream. */
  readonly stream: string;
}

/** Takes `https://host[/prefix]`, with any of the schemes http, https, ws and wss, or a path of the page. */
export function addressOf(url: string): Address {
  const base = new URL(url, globalThis.location?.href);
  base.search = base.hash = "";
  base.pathname = base.pathname.replace(/\/+$/, "");
  const secure = base.protocol === "https:" || base.protocol === "wss:";
  const rest = base.href.slice(base.protocol.length).replace(/\/$/, "");
  const s = secure ? "s" : "";
  return { http: `http${s}:${rest}`, stream: `ws${s}:${rest}/v1/stream` };
}
