import { Backoff } from "./backoff.js";
import { isOffline } from "./environment.js";
import { TidingsError } from "./errors.js";
import type { Feed, FeedContext, FeedListener, State } from "./feed.js";
import type { ErrorFrame, NotificationFrame, Renewed, Welcome } from "./frames.js";
import { GOOD_MS, decide, keepsTicket } from "./reconnect.js";
import { GONE, Session } from "./session.js";
import type { Ending } from "./session.js";
import { Renewal } from "./renewal.js";

/** How long acknowledgements are gathered, in milliseconds. */
const ACK_MS = 100;

/** An own socket that is opened again and again. */
export class Connection implements Feed {
  #session: Session | undefined;
  /** The newest. In memory only: it is as good as a token. */
  #ticket: string | undefined;
  #state: State | undefined;
  /** Counts what was begun, so that an answer to something given up is told apart. */
  #turn = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #acking: ReturnType<typeof setTimeout> | undefined;
  #ackSeq = 0;
  readonly #backoff: Backoff;
  readonly #renewal: Renewal;

  constructor(
    private readonly context: FeedContext,
    private readonly listener: FeedListener,
  ) {
    this.#backoff = new Backoff(context.backoff);
    this.#renewal = new Renewal(
      context.tokens,
      (token) => this.#session?.send({ type: "renew", token }),
      (error) => listener.error(error),
    );
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
    const ticket = this.#ticket;
    let proof: { token: string } | { ticket: string };
    try {
      // With a ticket nobody is asked for a token, the app's backend included.
      proof = ticket === undefined ? { token: await tokens.current() } : { ticket };
    } catch (cause) {
      if (turn !== this.#turn) return;
      const error = new TidingsError("unauthenticated", "there is no token", false, undefined, { cause });
      this.listener.error(error);
      return this.#retryAfter(this.#backoff.next(1));
    }
    if (turn !== this.#turn) return;
    // A ticket stands for the token of the session before, and ends with it.
    if ("token" in proof) this.#renewal.token = proof.token;
    const hello = {
      type: "hello" as const,
      ...proof,
      ...(cursor.last === undefined ? {} : { last_seq: cursor.last }),
      ...(cursor.began === undefined ? {} : { after_seq: cursor.began }),
      ...(device === undefined ? {} : { device }),
    };
    this.#session = new Session(this.context.WebSocket, address.stream, hello, timeouts, {
      welcome: (frame) => this.#welcome(frame),
      renewed: (frame) => this.#renewed(frame),
      notification: (frame) => this.#notification(frame),
      update: (frame) => this.listener.update(frame),
      refused: (frame) => this.#refused(frame),
      ended: (ending) => {
        if (turn === this.#turn) this.#ended(ending, ticket !== undefined);
      },
    });
  }

  #welcome(frame: Welcome): void {
    this.#ticket = frame.ticket;
    this.#renewal.begin();
    // The hello has acknowledged it all. After a server was set back it is more than was sent, which would end the session.
    this.#ackSeq = 0;
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

  #renewed(frame: Renewed): void {
    this.#ticket = frame.ticket ?? this.#ticket;
    this.#renewal.accepted(frame.expires_ms);
  }

  #notification(frame: NotificationFrame): void {
    const step = this.context.cursor.step(frame.seq);
    if (step === "deliver") this.listener.notification(frame);
    // The server leaves nothing out. If it did, it is asked again from where the client stands.
    else if (step === "fill") this.#session?.drop(GONE, `something is missing before ${frame.seq}`);
  }

  #refused(frame: ErrorFrame): void {
    const reason = frame.reason ?? "the server refused a frame";
    if (this.#renewal.refused(reason)) return;
    this.listener.error(new TidingsError("refused", reason));
  }

  #ended(ending: Ending, byTicket: boolean): void {
    const { tokens } = this.context;
    this.#drop();
    if (byTicket && ending.livedMs === undefined && !keepsTicket(ending)) {
      this.#ticket = undefined;
      // Whatever the node has against the ticket, the token says who this is.
      if (ending.code >= 4400 && ending.code <= 4403) return void this.#dial();
    }
    if (ending.code === 4401) {
      this.#ticket = undefined;
      tokens.refuse(this.#renewal.token);
    }
    if ((ending.livedMs ?? 0) >= GOOD_MS) this.#backoff.reset();
    const decision = decide(ending, tokens.canRenew);
    if (decision.then === "stop") {
      this.#become("closed");
      const message = `the session ended with ${ending.code}${ending.reason && `: ${ending.reason}`}`;
      return this.listener.error(new TidingsError(decision.code, message, true));
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

  #leave(state: State): void {
    this.#drop();
    this.#become(state);
  }

  /** Gives up what is under way, and returns the number of what comes next. */
  #drop(): number {
    clearTimeout(this.#retry);
    this.#renewal.end();
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
