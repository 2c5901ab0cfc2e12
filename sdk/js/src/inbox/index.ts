/** `<tidings-inbox>`. Importing this defines the element. */

import { TidingsInbox } from "./element.js";

export { TidingsInbox };
export type { LinkResolver } from "./links.js";
export { ENGLISH } from "./strings.js";
export type { InboxStrings } from "./strings.js";

if (!customElements.get("tidings-inbox")) customElements.define("tidings-inbox", TidingsInbox);
