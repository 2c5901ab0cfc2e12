import { Connection } from "./connection.js";
import type { TidingsError } from "./errors.js";
import type { Feed, FeedContext, FeedListener, Reset, State } from "./feed.js";
import type { NotificationFrame, Update, Welcome } from "./frames.js";
import type { InboxApi } from "./inbox-api.js";
import { UnreadCount } from "./unread.js";

/** How many notifications are fetched at a time when this tab has missed some. */
const FILL = 200;
/** After a fill that failed, in milliseconds. */
const FILL_RETRY_MS = 2_000;

/** What tabs say to each other. */
type Message =
  | { readonly is: "join" }
  | { readonly is: "ack"; readonly seq: number }
  | { readonly is: "wake" }
  | { readonly is: "state"; readonly state: State }
  | { readonly is: "welcome"; readonly frame: Welcome }
  | { readonly is: "notification"; readonly frame: NotificationFrame }
  | { readonly is: "update"; readonly frame: Update }
  | { readonly is: "reset"; readonly reset: Reset };

/** Whether this page can share a socket. */
export function canShare(): boolean {
  return typeof BroadcastChannel === "function" && globalThis.navigator?.locks !== undefined;
}

/**
 * One socket for all tabs of a user. The tab that holds a lock has the socket and tells the others;
 * the browser hands the lock on when that tab ends, however it ends. Each tab keeps a cursor of its
 * own, so what a change of leaders or a lost message leaves out is seen, and fetched.
 */
export class SharedFeed implements Feed {
  #channel: BroadcastChannel | undefined;
  #connection: Connection | undefined;
  /** What the socket's tab said last; for tabs that come later. */
  #welcome: Welcome | undefined;
  readonly #count = new UnreadCount();
  #state: State = "connecting";
  #paused = false;
  #leading = false;
  #giveUp = new AbortController();
  /** The inbox reaches at least this far; more than the cursor means that something is missing. */
  #known = 0;
  #filling: Promise<void> | undefined;
  #fillTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #onHide = () => this.#leave();
  readonly #onShow = (event: PageTransitionEvent) => {
    if (event.persisted && !this.#channel) this.#join();
  };

  constructor(
    private readonly context: FeedContext,
    private readonly inbox: InboxApi,
    private readonly name: string,
    private readonly listener: FeedListener,
  ) {}

  start(): void {
    // A page in the back-forward cache must not keep the lock from those that are looked at.
    globalThis.addEventListener?.("pagehide", this.#onHide);
    globalThis.addEventListener?.("pageshow", this.#onShow);
    this.#join();
  }

  stop(): void {
    globalThis.removeEventListener?.("pagehide", this.#onHide);
    globalThis.removeEventListener?.("pageshow", this.#onShow);
    this.#leave();
    this.#become("closed");
  }

  ack(seq: number): void {
    if (this.#connection) this.#connection.ack(seq);
    else this.#tell({ is: "ack", seq });
  }

  pause(): void {
    // Another tab's socket goes on, and what comes meanwhile is fetched afterwards. An own one waits,
    // and the other tabs with it.
    this.#paused = true;
    this.#connection?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#connection?.resume();
    this.#fill();
  }

  wake(): void {
    if (this.#connection) this.#connection.wake();
    else this.#tell({ is: "wake" });
    this.#fill();
  }

  offline(): void {
    this.#connection?.offline();
  }

  #join(): void {
    this.#giveUp = new AbortController();
    const { signal } = this.#giveUp;
    const channel = (this.#channel = new BroadcastChannel(this.name));
    channel.onmessage = ({ data }: MessageEvent<Message>) => this.#hear(data);
    this.#tell({ is: "join" });
    navigator.locks
      .request(this.name, { signal }, () => this.#lead(signal))
      // Given up while waiting.
      .catch(() => undefined);
  }

  #leave(): void {
    this.#giveUp.abort();
    this.#leading = false;
    clearTimeout(this.#fillTimer);
    this.#connection?.stop();
    this.#connection = undefined;
    this.#welcome = undefined;
    this.#channel?.close();
    this.#channel = undefined;
  }

  /** Holds the socket until this tab leaves. */
  async #lead(signal: AbortSignal): Promise<void> {
    // Two that move the cursor would each see holes that the other fills.
    this.#leading = true;
    await this.#filling;
    if (signal.aborted) return;
    this.#connection = this.#connect(signal);
    this.#connection.start();
    if (this.#paused) this.#connection.pause();
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  }

  #connect(signal: AbortSignal): Connection {
    const { listener } = this;
    return new Connection(this.context, {
      state: (state) => {
        // This tab's end is not that of the others: one of them takes over, with a token of its own.
        if (state === "closed") return signal.aborted ? undefined : this.stop();
        this.#tell({ is: "state", state });
        this.#become(state);
      },
      welcome: (frame) => {
        this.#welcome = frame;
        this.#count.begin(frame.unread, frame.seq);
        this.#tell({ is: "welcome", frame });
        listener.welcome(frame);
      },
      notification: (frame) => {
        this.#tell({ is: "notification", frame });
        this.#count.arrived(frame);
        listener.notification(frame);
      },
      update: (frame) => {
        this.#tell({ is: "update", frame });
        this.#count.told(frame.unread, frame.seq);
        listener.update(frame);
      },
      reset: (reset) => {
        this.#tell({ is: "reset", reset });
        listener.reset(reset);
      },
      error: (error: TidingsError) => listener.error(error),
    });
  }

  #hear(message: Message): void {
    const { cursor } = this.context;
    if (this.#connection) {
      if (message.is === "ack") this.#connection.ack(message.seq);
      if (message.is === "wake") this.#connection.wake();
      if (message.is === "join") this.#greet();
      return;
    }
    switch (message.is) {
      case "state":
        return this.#become(message.state);
      case "welcome":
        this.#known = Math.max(this.#known, message.frame.seq);
        if (cursor.last === undefined) cursor.move(message.frame.seq);
        this.listener.welcome(message.frame);
        return this.#fill();
      case "notification":
        return this.#notification(message.frame);
      case "update":
        return this.listener.update(message.frame);
      case "reset":
        if (message.reset.reason === "rewound") {
          if ((cursor.last ?? 0) <= message.reset.seq) return;
          this.#known = message.reset.seq;
        } else if ((cursor.last ?? 0) >= message.reset.seq) return;
        cursor.move(message.reset.seq);
        return this.listener.reset(message.reset);
    }
  }

  /** Tells a tab that came later where things stand. */
  #greet(): void {
    if (this.#welcome) {
      const seq = Math.max(this.#welcome.seq, this.#known, this.context.cursor.last ?? 0);
      const { unread, seq: counted } = this.#count;
      this.#tell({ is: "welcome", frame: { ...this.#welcome, seq, unread } });
      // What the server counted already and has still to send must not count again there.
      if (counted > seq) this.#tell({ is: "update", frame: { type: "update", unread, seq: counted } });
    }
    this.#tell({ is: "state", state: this.#state });
  }

  #notification(frame: NotificationFrame): void {
    this.#known = Math.max(this.#known, frame.seq);
    const step = this.context.cursor.step(frame.seq);
    if (this.#paused || this.#filling || step === "fill") this.#fill();
    else if (step === "deliver") this.listener.notification(frame);
  }

  /** Fetches what lies between the cursor and what is known, unless that is under way. */
  #fill(): void {
    // The socket of the tab that leads brings by itself what that tab lacks.
    if (this.#leading || this.#filling || this.context.cursor.last === undefined) return;
    clearTimeout(this.#fillTimer);
    this.#filling = this.#fetchMissing()
      .catch(() => void (this.#fillTimer = setTimeout(() => this.#fill(), FILL_RETRY_MS)))
      .finally(() => {
        this.#filling = undefined;
        // What came after the last look.
        if (!this.#fillTimer && this.#lacks()) this.#fill();
      });
  }

  #lacks(): boolean {
    const { last } = this.context.cursor;
    const may = !this.#paused && !this.#leading && this.#channel !== undefined;
    return may && last !== undefined && last < this.#known;
  }

  async #fetchMissing(): Promise<void> {
    const { cursor } = this.context;
    this.#fillTimer = undefined;
    while (this.#lacks()) {
      const from = cursor.last ?? 0;
      const to = Math.min(from + FILL, this.#known);
      const missing = await this.inbox.after(from, to - from);
      for (const notification of missing) {
        if (this.#paused) return;
        const { seq } = notification;
        if (seq > (cursor.last ?? 0)) this.listener.notification({ type: "notification", seq, notification });
      }
      // What is still not there was archived or forgotten.
      if ((cursor.last ?? 0) < to) cursor.move(to);
    }
  }

  #tell(message: Message): void {
    this.#channel?.postMessage(message);
  }

  #become(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    this.listener.state(state);
  }
}
