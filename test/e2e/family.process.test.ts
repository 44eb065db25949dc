/** Functions that call functions, on the process engine. */
import { familySuite } from "./family.ts";

familySuite("process");
