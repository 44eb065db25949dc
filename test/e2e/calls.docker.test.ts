/** The users' story in real containers. */
import { callsSuite } from "./calls.ts";

callsSuite("docker");
