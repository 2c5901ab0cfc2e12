import { make } from "./dom.js";

/** What stands below the list: that there is nothing, or not yet, or a way to try again. */
export class InboxNote {
  readonly #text = make("span");
  readonly #retry = make("button", { type: "button", part: "retry" });
  readonly element = make("div", { class: "note", part: "note" }, this.#text, " ", this.#retry);

  constructor(again: () => void) {
    this.#retry.addEventListener("click", again);
  }

  /** Shows `text`, and with `retry` the button. The button stays the same one, or it would lose the keyboard. */
  show(text: string, retry?: string): void {
    this.#text.textContent = text;
    this.#retry.textContent = retry ?? "";
    this.#retry.hidden = retry === undefined;
    this.element.hidden = text === "";
  }
}
