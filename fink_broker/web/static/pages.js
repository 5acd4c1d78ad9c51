// Starts the page that this is.

import * as broker from "./broker.js";
import { byId, say } from "./fink.js";
import * as objects from "./objects.js";

const show = { ...broker, ...objects }[document.body.dataset.page];
const main = byId("main");
const failed = (problem) => { say(problem); main.dataset.failed = ""; };
Promise.resolve(show && show()).catch(failed).finally(() => main.removeAttribute("aria-busy"));
