/** `npm run bench -- <name>`: measurements, never tests; ratios within one run are what counts. */
import { callBench } from "./call.ts";

const BENCHES: Record<string, (args: string[]) => Promise<void>> = { call: callBench };

const [name = "", ...args] = process.argv.slice(2);
const bench = BENCHES[name];
if (!bench) {
  console.error(`usage: npm run bench -- ${Object.keys(BENCHES).join("|")} [--engine docker|process] [--seconds N]`);
  process.exit(2);
}
await bench(args);
