/** Functions that call functions, on the docker engine. */
import { familySuite } from "./family.ts";

familySuite("docker");
