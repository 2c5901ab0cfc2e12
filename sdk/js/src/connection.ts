import { Backoff } from "./backoff.js";
import { isOffline } from "./environment.js";
import { TidingsError } from "./errors.js";
import type { Feed, FeedContext, FeedListener, State } from "./feed.js";
import type { ErrorFrame, NotificationFrame, Welcome } from "./frames.js";
import { GOOD_MS, decide } from "./reconnect.js";
import { GONE, Session } from "./session.js";
import type { Ending } from "./session.js";
import { expiryOf, renewalDelay } from "./token.js";

/** The longest time that a timer takes, in milliseconds. */
const TIMER_MAX_MS = 2 ** 31 - 1;
/** How long acknowledgements are gathered, in milliseconds. */
const ACK_MS = 100;

/** An own socket that is opened again and again. */
export class Connection implements Feed {
  #session: Session | undefined;
  #ticket: string | undefined;
  #state: State | undefined;
  /** Counts what was begun, so that an answer to something given up is told apart. */
  #turn = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #acking: ReturnType<typeof setTimeout> | undefined;
  #ackSeq = 0;
  readonly #backoff: Backoff;

  constructor(
    private readonly context: FeedContext,
    private readonly listener: FeedListener,
  ) {
    this.#backoff = new Backoff(context.backoff);
  }

  start(): void {
    if (isOffline()) this.#become("offline");
    else void this.#dial();
  }

  stop(): void {
    this.#sendAck();
    this.#leave("closed");
  }

  pause(): void {
    if (this.#state !== "closed") this.#leave("paused");
  }

  resume(): void {
    if (this.#state === "paused") this.start();
  }

  wake(): void {
    if (this.#state === "live") this.#session?.probe();
    else if (this.#state === "waiting" || this.#state === "offline") void this.#dial();
  }

  offline(): void {
    if (this.#state !== "closed" && this.#state !== "paused") this.#leave("offline");
  }

  ack(seq: number): void {
    // More than was delivered is a lie that the server would close the session for.
    this.#ackSeq = Math.max(this.#ackSeq, Math.min(seq, this.context.cursor.last ?? 0));
    this.#acking ??= setTimeout(() => this.#sendAck(), ACK_MS);
  }

  #sendAck(): void {
    clearTimeout(this.#acking);
    this.#acking = undefined;
    // Without a session nothing is lost: the next hello says how far the client is.
    if (this.#ackSeq > 0 && this.#session?.isLive) {
      this.#session.send({ type: "ack", seq: this.#ackSeq });
      this.#ackSeq = 0;
    }
  }

  async #dial(): Promise<void> {
    const turn = this.#drop();
    this.#become("connecting");
    const { address, tokens, cursor, device, timeouts } = this.context;
    let token: string;
    try {
      token = await tokens.current();
    } catch (cause) {
      if (turn !== this.#turn) return;
      const error = new TidingsError("unauthenticated", "there is no token", false, undefined, { cause });
      this.listener.error(error);
      return this.#retryAfter(this.#backoff.next(1));
    }
    if (turn !== this.#turn) return;
    const hello = {
      type: "hello" as const,
      token,
      ...(cursor.last === undefined ? {} : { last_seq: cursor.last }),
      ...(device === undefined ? {} : { device }),
      ...(this.#ticket === undefined ? {} : { resume: this.#ticket }),
    };
    // A ticket is good for one try: one that the server does not like must not be said for ever.
    this.#ticket = undefined;
    this.#session = new Session(this.context.WebSocket, address.stream, hello, timeouts, {
      welcome: (frame) => this.#welcome(frame, token),
      notification: (frame) => this.#notification(frame),
      update: (frame) => this.listener.update(frame),
      refused: (frame) => this.#refused(frame),
      ended: (ending) => {
        if (turn === this.#turn) this.#ended(ending, token);
      },
    });
  }

  #welcome(frame: Welcome, token: string): void {
    this.#ticket = frame.resume;
    this.#renewAhead(token);
    const { cursor } = this.context;
    const last = cursor.last;
    const forgotten = frame.forgotten_seq ?? 0;
    if (last === undefined || frame.seq < last) cursor.move(frame.seq);
    else if (last < forgotten) cursor.move(forgotten);
    this.listener.welcome(frame);
    if (last !== undefined && frame.seq < last) {
      this.listener.reset({ reason: "rewound", seq: frame.seq });
    } else if (last !== undefined && last < forgotten) {
      this.listener.reset({ reason: "forgotten", seq: forgotten });
    }
    this.#become("live");
  }

  #notification(frame: NotificationFrame): void {
    const step = this.context.cursor.step(frame.seq);
    if (step === "deliver") this.listener.notification(frame);
    // The server leaves nothing out. If it did, it is asked again from where the client stands.
    else if (step === "fill") this.#session?.drop(GONE, `something is missing before ${frame.seq}`);
  }

  #refused(frame: ErrorFrame): void {
    const message = frame.message ?? frame.reason ?? "the server refused a frame";
    // A server that does not know `token` frames closes with 4401 at the token's end; the next hello
    // then says the new one.
    if (frame.code === "unknown_type" || message.startsWith("there is no frame of type")) return;
    this.listener.error(new TidingsError("refused", message));
  }

  #ended(ending: Ending, token: string): void {
    const { tokens } = this.context;
    this.#drop();
    if (ending.code === 4401) tokens.refuse(token);
    if ((ending.livedMs ?? 0) >= GOOD_MS) this.#backoff.reset();
    const decision = decide(ending, tokens.canRenew);
    if (decision.then === "stop") {
      this.#become("closed");
      return this.listener.error(new TidingsError(decision.code, ending.reason, true));
    }
    if (isOffline()) return this.#become("offline");
    this.#retryAfter(
      decision.then === "after" ? decision.ms : this.#backoff.next(decision.minAttempt),
    );
  }

  #retryAfter(ms: number): void {
    this.#become("waiting");
    this.#retry = setTimeout(() => void this.#dial(), ms);
  }

  #renewAhead(token: string): void {
    clearTimeout(this.#renewal);
    const expiry = expiryOf(token);
    const { tokens } = this.context;
    if (expiry === undefined || !tokens.canRenew) return;
    const turn = this.#turn;
    const delay = Math.min(renewalDelay(expiry, Date.now()), TIMER_MAX_MS);
    this.#renewal = setTimeout(() => {
      tokens.renew().then(
        (next) => {
          if (turn !== this.#turn || next === token) return;
          this.#session?.send({ type: "token", token: next });
          this.#renewAhead(next);
        },
        // The session goes on until the token's end; then the provider is asked again.
        (cause: unknown) => {
          const message = "the token was not renewed";
          this.listener.error(new TidingsError("unauthenticated", message, false, undefined, { cause }));
        },
      );
    }, delay);
  }

  #leave(state: State): void {
    this.#drop();
    this.#become(state);
  }

  /** Gives up what is under way, and returns the number of what comes next. */
  #drop(): number {
    clearTimeout(this.#retry);
    clearTimeout(this.#renewal);
    clearTimeout(this.#acking);
    this.#acking = undefined;
    this.#turn += 1;
    const session = this.#session;
    this.#session = undefined;
    session?.drop(1000, "left");
    return this.#turn;
  }

  #become(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    this.listener.state(state);
  }
}
