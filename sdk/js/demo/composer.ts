import { make } from "../src/inbox/dom.js";
import type { Notification } from "../src/index.js";

/** Sent events that are shown. */
const SHOWN = 5;

const IDEAS: ReadonlyArray<readonly [type: string, name: string, title: string]> = [
  ["like", "Like", "Ann liked your photo"],
  ["comment", "Comment", "Ben commented: \u201CWhere is this?\u201D"],
  ["follow", "Follow", "Cleo follows you"],
  ["mention", "Mention", "Dan mentioned you in a post"],
];

interface Sent {
  readonly at: number;
  readonly times: HTMLElement;
}

/** The form that makes events, and what became of them. */
export class Composer {
  readonly #form: HTMLFormElement;
  readonly #log: HTMLElement;
  readonly #sent = new Map<string, Sent>();
  #type = "like";

  constructor(root: HTMLElement, people: readonly string[]) {
    this.#form = root.querySelector("form")!;
    this.#log = root.querySelector(".log")!;
    this.#field("to").append(...people.map((one) => new Option(one, one)));
    root.querySelector(".ideas")!.append(...IDEAS.map(([type, name, title]) => {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        this.#type = type;
        this.#field("title").value = title;
      });
      return button;
    }));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send(1);
    });
    this.#form.querySelector("[name=many]")!.addEventListener("click", () => {
      if (this.#form.reportValidity()) void this.#send(20);
    });
  }

  /** A screen got something: if it was sent from here, its time is shown. */
  arrived(screen: string, { event_id }: Notification): void {
    const sent = this.#sent.get(event_id);
    sent?.times.append(` · ${screen} ${Math.round(performance.now() - sent.at)} ms`);
  }

  #field(name: string): HTMLInputElement {
    return this.#form.elements.namedItem(name) as HTMLInputElement;
  }

  async #send(count: number): Promise<void> {
    const to = this.#field("to").value;
    const title = this.#field("title").value.trim();
    const run = crypto.randomUUID();
    const events = Array.from({ length: count }, (_, n) => ({
      id: `${run}-${n + 1}`, source: "demo-page", type: this.#type, audience: { users: [to] },
      title: count === 1 ? title : `${title} (${n + 1})`,
    }));
    const times = make("small", {}, "sending");
    const last = events.at(-1)!;
    const at = performance.now();
    this.#sent.set(last.id, { at, times });
    const line = make("li", {}, make("span", { class: "title" }, count === 1 ? title : `${count} × ${title}`), times);
    this.#log.prepend(line);
    while (this.#log.children.length > SHOWN) this.#log.lastElementChild?.remove();
    try {
      const answer = await fetch("/v1/events", {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(count === 1 ? last : events),
      });
      if (!answer.ok) throw new Error(`the node answered ${answer.status}`);
      const arrivals = times.textContent!.replace("sending", "");
      times.textContent = `durable ${Math.round(performance.now() - at)} ms${arrivals}`;
    } catch (error) {
      times.textContent = error instanceof Error ? error.message : String(error);
      times.className = "failed";
    }
  }
}
