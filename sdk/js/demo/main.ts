// The page of `tidings demo`. Built into `built.js` by `npm run generate`; the binary carries that.

import "../src/inbox/index.js";
import { Composer } from "./composer.js";
import { Screen } from "./screen.js";
import type { ScreenListener } from "./screen.js";

/** Screens that fit a page. */
const SCREENS_MAX = 6;

const NAMES = ["Phone", "Laptop", "Tablet", "Watch", "Television", "Fridge"];

async function start(): Promise<void> {
  const people = (await (await fetch("/demo/people.json")).json()) as string[];
  const composer = new Composer(document.querySelector<HTMLElement>(".composer")!, people);
  const place = document.querySelector<HTMLElement>(".screens")!;
  const add = document.querySelector<HTMLButtonElement>("button[name=add]")!;
  const screens: Screen[] = [];
  const listener: ScreenListener = {
    arrived: (screen, notification) => composer.arrived(screen.name, notification),
    removed: (screen) => {
      screens.splice(screens.indexOf(screen), 1);
      add.disabled = false;
    },
  };
  const addScreen = (user: string) => {
    const taken = new Set(screens.map(({ name }) => name));
    const name = NAMES.find((one) => !taken.has(one));
    if (name === undefined) return;
    const screen = new Screen(name, people, user, listener);
    screens.push(screen);
    place.append(screen.element);
    add.disabled = screens.length >= SCREENS_MAX;
  };
  const [first = "ann", second = first] = people;
  addScreen(first);
  addScreen(first);
  addScreen(second);
  add.addEventListener("click", () => addScreen(screens.at(-1)?.user ?? first));
}

void start();
