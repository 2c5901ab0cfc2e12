/** Makes an element. Text goes in as text, never as markup. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string>> = {},
  ...children: Array<Node | string>
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** The picture of a bell. */
export function bellIcon(): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  const picture = {
    viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "1.8", "aria-hidden": "true",
  };
  for (const [key, value] of Object.entries(picture)) svg.setAttribute(key, value);
  path.setAttribute("d", "M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15zM10 21h4");
  svg.append(path);
  return svg;
}
