/** `npm run bench -- <name>`: measurements, never tests; ratios within one run are what counts. */
import { callBench } from "./call.ts";
import { fairnessBench } from "./fairness.ts";
import { faultsBench } from "./faults.ts";
import { mapBench } from "./map.ts";
import { outageBench } from "./outage.ts";
import { trainBench } from "./train.ts";

const BENCHES: Record<string, (args: string[]) => Promise<void>> = {
  call: callBench,
  map: mapBench,
  faults: faultsBench,
  fairness: fairnessBench,
  outage: outageBench,
  train: trainBench,
};

const [name = "", ...args] = process.argv.slice(2);
const bench = BENCHES[name];
if (!bench) {
  console.error(`usage: npm run bench -- ${Object.keys(BENCHES).join("|")} [options]`);
  process.exit(2);
}
await bench(args);
