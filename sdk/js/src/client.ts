import { Actions } from "./actions.js";
import { Backoff } from "./backoff.js";
import { Connection } from "./connection.js";
import type { Cursor, Place } from "./cursor.js";
import { Emitter } from "./emitter.js";
import { isOffline, watchEnvironment } from "./environment.js";
import type { TidingsError } from "./errors.js";
import type { Feed, FeedContext, FeedListener, Reset, State } from "./feed.js";
import type { NotificationFrame, Selection, Update, Welcome } from "./frames.js";
import type { InboxCounters, Notification } from "./generated/api.js";
import type { InboxApi, MarkName } from "./inbox-api.js";
import { NotificationStream } from "./stream.js";
import { SharedFeed, canShare } from "./tabs.js";
import { subjectOf } from "./token.js";
import { UnreadCount } from "./unread.js";

/** What a client tells its listeners. */
export interface ClientEvents {
  /** The next notification: in order, each once, without holes. */
  notification: Notification;
  /** Notifications were marked, on this screen or another. */
  update: Update;
  /** How many notifications are unread, whenever that changes. */
  unread: number;
  /** Where the client stands, whenever that changes. */
  state: State;
  /** The client's place moved without notifications. What you keep may have to be loaded anew. */
  reset: Reset;
  /** Something went wrong. Only after one with `fatal` does the client not go on by itself. */
  error: TidingsError;
}

/** What marks are about: ids, or everything up to a `seq`. */
export type Which = readonly string[] | { readonly upToSeq: number };

/** How the client behaves, apart from where it connects. */
export interface ClientConfig {
  readonly autoAck: boolean;
  /** False, true, or a name that stands for the user. */
  readonly shareTabs: boolean | string;
  /** Where the last `seq` comes from when the options do not say. */
  readonly loadPlace: () => Promise<number | Place | undefined>;
}

/** A user's live inbox. Made by `connect`. */
export class TidingsClient {
  readonly #events = new Emitter<ClientEvents>();
  readonly #actions: Actions;
  readonly #stopWatching: () => void;
  readonly #streams = new Set<NotificationStream>();
  #feed: Feed | undefined;
  #state: State = "connecting";
  readonly #count = new UnreadCount();
  /** What the listeners were told. */
  #unread = 0;
  #user: string | undefined;

  /** The inbox over HTTP: `page`, `counters`, `mark`. */
  readonly inbox: InboxApi;

  /** Use `connect`. */
  constructor(
    private readonly context: FeedContext,
    inbox: InboxApi,
    private readonly config: ClientConfig,
  ) {
    this.inbox = inbox;
    this.#actions = new Actions(inbox, new Backoff(context.backoff), isOffline, (counters) => {
      this.#count.told(counters.unread, counters.last_seq);
      this.#sayUnread();
    });
    this.#stopWatching = watchEnvironment({
      online: () => this.#feed?.wake(),
      offline: () => this.#feed?.offline(),
      woke: () => this.#feed?.wake(),
    });
    void this.#start();
  }

  /** Where the client stands. */
  get state(): State {
    return this.#state;
  }

  /** How many notifications are unread, as far as this client knows. */
  get unread(): number {
    return this.#unread;
  }

  /** Everything up to here was delivered; undefined before the first welcome. */
  get lastSeq(): number | undefined {
    return this.context.cursor.last;
  }

  /** Where the client began, unless it has the whole inbox: `afterSeq` of the next `connect`, with `lastSeq`. */
  get afterSeq(): number | undefined {
    return this.context.cursor.began;
  }

  /** The user, as the server says. */
  get user(): string | undefined {
    return this.#user;
  }

  /** How many marks wait for the network. */
  get waiting(): number {
    return this.#actions.size;
  }

  /** Calls `listener` for every event `name`. Returns what ends that. */
  on<Name extends keyof ClientEvents>(
    name: Name,
    listener: (value: ClientEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  /**
   * The notifications from now on, for `for await`. A reader that is more than 1,000 behind pauses
   * the client, which then goes on where it stood: nothing is left out, and nothing grows.
   */
  notifications(): AsyncIterableIterator<Notification> {
    const stream = new NotificationStream(
      () => this.#feed?.pause(),
      () => {
        if (![...this.#streams].some((one) => one.isFull)) this.#feed?.resume();
      },
      () => this.#streams.delete(stream),
    );
    if (this.#state === "closed") stream.end();
    else this.#streams.add(stream);
    return stream;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Notification> {
    return this.notifications();
  }

  /** Says that everything up to `seq` has arrived. Happens by itself unless `autoAck` is false. */
  ack(seq: number): void {
    this.#feed?.ack(seq);
  }

  /** Says that the user opened notifications. Waits for the network when there is none. */
  read(which: Which): Promise<InboxCounters> {
    return this.#mark("read", which);
  }

  /** Says that notifications were shown. Waits for the network when there is none. */
  seen(which: Which): Promise<InboxCounters> {
    return this.#mark("seen", which);
  }

  /** Puts notifications away. Waits for the network when there is none. */
  archive(which: Which): Promise<InboxCounters> {
    return this.#mark("archive", which);
  }

  /** Ends for good: the session, the readers, and the marks that wait (which fail). */
  close(): void {
    // Also after an error that ended the feed: the marks that wait have to be told.
    this.#stopWatching();
    this.#actions.close();
    if (this.#feed) this.#feed.stop();
    else this.#setState("closed");
    this.#events.clear();
  }

  async #start(): Promise<void> {
    const { cursor, tokens, address } = this.context;
    const kept = await this.config.loadPlace().catch(() => undefined);
    // A storage of the app's may give null for nothing.
    if (kept != null && cursor.last === undefined) cursor.resume(kept);
    let name = typeof this.config.shareTabs === "string" ? this.config.shareTabs : undefined;
    if (this.config.shareTabs === true && canShare()) {
      // Tabs of two users must not meet. Without a name in the token each tab has its own socket.
      name = await tokens.current().then(subjectOf, () => undefined);
    }
    if (this.#state === "closed") return;
    const listener = this.#listener(cursor);
    this.#feed =
      name !== undefined && canShare()
        ? new SharedFeed(this.context, this.inbox, `tidings ${address.stream} ${name}`, listener)
        : new Connection(this.context, listener);
    this.#feed.start();
  }

  #listener(cursor: Cursor): FeedListener {
    return {
      state: (state) => this.#setState(state),
      welcome: (frame) => this.#welcome(frame),
      notification: (frame) => this.#notification(frame, cursor),
      update: (frame) => {
        this.#count.told(frame.unread, frame.seq);
        this.#sayUnread();
        this.#events.emit("update", frame);
      },
      reset: (reset) => this.#events.emit("reset", reset),
      error: (error) => this.#events.emit("error", error),
    };
  }

  #welcome(frame: Welcome): void {
    this.#user = frame.user;
    this.#count.begin(frame.unread, frame.seq);
    this.#sayUnread();
  }

  #notification(frame: NotificationFrame, cursor: Cursor): void {
    const { notification, seq } = frame;
    this.#events.emit("notification", notification);
    for (const stream of this.#streams) stream.push(notification);
    // After the listeners: what they did not get is asked for again after a reload.
    cursor.move(seq);
    this.#count.arrived(frame);
    this.#sayUnread();
    if (this.config.autoAck) this.#feed?.ack(seq);
  }

  #mark(mark: MarkName, which: Which): Promise<InboxCounters> {
    const selection: Selection =
      "upToSeq" in which ? { up_to_seq: which.upToSeq } : { ids: [...which] };
    return this.#actions.mark(mark, selection);
  }

  #sayUnread(): void {
    const { unread } = this.#count;
    if (unread === this.#unread) return;
    this.#unread = unread;
    this.#events.emit("unread", unread);
  }

  #setState(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === "live") void this.#actions.flush();
    if (state === "closed") for (const stream of this.#streams) stream.end();
    this.#events.emit("state", state);
  }
}
