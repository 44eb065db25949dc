/** The users' story on the process engine. */
import { callsSuite } from "./calls.ts";

callsSuite("process");
