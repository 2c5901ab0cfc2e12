import type { WebSocketConstructor, WebSocketLike } from "../src/index.js";

/** A network of one screen, which can be cut. */
export class Cable {
  #cut = false;
  readonly #open = new Set<WebSocket>();

  /** Whether nothing gets through. */
  get isCut(): boolean {
    return this.#cut;
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#open) socket.close();
    this.#open.clear();
  }

  mend(): void {
    this.#cut = false;
  }

  /** The browser's, over this cable. */
  readonly WebSocket: WebSocketConstructor = this.#dialler();

  /** The browser's, over this cable. */
  readonly fetch: typeof globalThis.fetch = (input, init) =>
    this.#cut ? Promise.reject(new TypeError("the line is cut")) : globalThis.fetch(input, init);

  #dialler(): WebSocketConstructor {
    const dial = (url: string, protocols: string[]): WebSocketLike => {
      if (this.#cut) return unreachable();
      const socket = new WebSocket(url, protocols);
      this.#open.add(socket);
      socket.addEventListener("close", () => this.#open.delete(socket));
      return socket as unknown as WebSocketLike;
    };
    // A constructor that returns an object makes that object.
    return function (url: string, protocols: string[]) {
      return dial(url, protocols);
    } as unknown as WebSocketConstructor;
  }
}

/** What a browser gives for a server that it does not reach. */
function unreachable(): WebSocketLike {
  const socket: WebSocketLike = {
    readyState: 3,
    onopen: null, onmessage: null, onclose: null, onerror: null,
    send: () => undefined,
    close: () => undefined,
  };
  setTimeout(() => socket.onclose?.({ code: 1006, reason: "" } as never));
  return socket;
}
