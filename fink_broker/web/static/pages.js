// Starts the page that this is.

import * as broker from "./broker.js";
import { byId, say } from "./fink.js";
import * as objects from "./objects.js";

const show = { ...broker, ...objects }[document.body.dataset.page];
Promise.resolve(show && show()).catch(say).finally(() => byId("main").removeAttribute("aria-busy"));
