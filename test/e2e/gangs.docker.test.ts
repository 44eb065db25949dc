/** Gangs in real containers: their ranks meet on a network of their own. */
import { gangsSuite } from "./gangs.ts";

gangsSuite("docker");
