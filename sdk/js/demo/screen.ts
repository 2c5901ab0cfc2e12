import { connect } from "../src/index.js";
import type { Notification, State, TidingsClient, Update } from "../src/index.js";
import type { TidingsInbox } from "../src/inbox/index.js";
import { make } from "../src/inbox/dom.js";
import { Cable } from "./cable.js";

/** Lines that a screen shows. */
const LINES = 40;

const WORDS: Readonly<Record<State, string>> = {
  connecting: "Connecting",
  live: "Live",
  waiting: "Waiting to reconnect",
  offline: "Offline",
  paused: "Paused",
  closed: "Closed",
};

/** What a screen tells. */
export interface ScreenListener {
  arrived(screen: Screen, notification: Notification): void;
  removed(screen: Screen): void;
}

/** One screen of one user: a client, its bell, and what arrived. */
export class Screen {
  readonly element: HTMLElement;
  #user: string;
  #client: TidingsClient | undefined;
  #items: Notification[] = [];
  /** What came over the socket, to tell what is new from what was loaded. */
  readonly #fresh = new Set<string>();
  #received = 0;
  readonly #cable = new Cable();
  readonly #bell = make("tidings-inbox" as "div") as unknown as TidingsInbox;
  readonly #state = make("p", { class: "state", role: "status" });
  readonly #feed = make("ul", { class: "feed", tabindex: "0" });
  readonly #line = make("button", { type: "button", "aria-pressed": "false" }, "Cut the line");

  constructor(
    readonly name: string,
    people: readonly string[],
    user: string,
    private readonly listener: ScreenListener,
  ) {
    this.#user = user;
    const who = make("select", { "aria-label": `User of ${name}` });
    who.append(...people.map((one) => new Option(one, one, one === user, one === user)));
    who.addEventListener("change", () => this.#open(who.value));
    const readAll = make("button", { type: "button" }, "Read all");
    readAll.addEventListener("click", () => this.#readAll());
    const remove = make("button", { type: "button", "aria-label": `Remove ${name}` }, "Remove");
    remove.addEventListener("click", () => this.remove());
    this.#line.addEventListener("click", () => this.#toggleLine());
    this.#feed.setAttribute("aria-label", `Notifications on ${name}`);
    this.element = make("article", { class: "screen", "aria-label": name },
      make("div", { class: "who" }, make("h3", {}, name), who, this.#bell),
      this.#state, this.#feed, make("div", { class: "foot" }, this.#line, readAll, remove));
    this.#open(user);
  }

  get user(): string {
    return this.#user;
  }

  remove(): void {
    this.#client?.close();
    this.element.remove();
    this.listener.removed(this);
  }

  #open(user: string): void {
    this.#client?.close();
    this.#user = user;
    this.#items = [];
    this.#received = 0;
    const client = (this.#client = connect({
      url: "/", token: `user:${user}`, device: this.name, WebSocket: this.#cable.WebSocket, fetch: this.#cable.fetch,
      // The demo is watched: nobody wants to wait half a minute for a line that was mended.
      backoff: { baseMs: 300, capMs: 2_000 },
    }));
    client.on("notification", (item) => this.#arrive(item));
    client.on("update", (update) => this.#mark(update));
    client.on("unread", () => this.#showState());
    client.on("state", () => this.#showState());
    this.#bell.client = client;
    client.inbox.page({ limit: 12 }).then(
      ({ items }) => {
        if (client === this.#client) this.#add(items);
      },
      // The list fills with what arrives.
      () => undefined,
    );
    this.#show();
    this.#showState();
  }

  #toggleLine(): void {
    if (this.#cable.isCut) this.#cable.mend();
    else this.#cable.cut();
    this.#line.setAttribute("aria-pressed", String(this.#cable.isCut));
    this.#line.textContent = this.#cable.isCut ? "Mend the line" : "Cut the line";
  }

  #readAll(): void {
    const newest = this.#items[0];
    if (newest) void this.#client?.read({ upToSeq: newest.seq }).catch(() => undefined);
  }

  #arrive(item: Notification): void {
    this.#received += 1;
    this.#fresh.add(item.id);
    this.#add([item]);
    this.#showState();
    this.listener.arrived(this, item);
  }

  #add(more: readonly Notification[]): void {
    const known = new Set(this.#items.map(({ id }) => id));
    const all = [...this.#items, ...more.filter(({ id }) => !known.has(id))];
    this.#items = all.sort((one, other) => other.seq - one.seq).slice(0, LINES);
    this.#show();
  }

  #mark(update: Update): void {
    const named = (which: Update["read"], { id, seq }: Notification) =>
      which !== undefined && ("ids" in which ? which.ids.includes(id) : seq <= which.up_to_seq);
    const at = new Date().toISOString();
    this.#items = this.#items
      .filter((item) => !named(update.archived, item))
      .map((item) => (named(update.read, item) && !item.read_at ? { ...item, read_at: at } : item));
    this.#show();
  }

  #show(): void {
    const lines = this.#items.map((item) => {
      const classes = `${item.read_at ? "" : "unread"} ${this.#fresh.delete(item.id) ? "new" : ""}`.trim();
      const seq = make("small", {}, `#${item.seq}`);
      return make("li", { class: classes, "data-seq": String(item.seq) }, make("span", { class: "title" }, item.title), seq);
    });
    const empty = make("li", { class: "empty" }, "Nothing yet");
    this.#feed.replaceChildren(...(lines.length > 0 ? lines : [empty]));
  }

  #showState(): void {
    const state = this.#client?.state ?? "closed";
    const counts = `${this.#client?.unread ?? 0} unread · ${this.#received} live`;
    this.#state.className = `state ${state}`;
    this.#state.replaceChildren(make("i"), make("b", {}, WORDS[state]), make("span", {}, counts));
  }
}
