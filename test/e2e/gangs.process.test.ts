/** Gangs without isolation: their ranks meet on loopback. */
import { gangsSuite } from "./gangs.ts";

gangsSuite("process");
