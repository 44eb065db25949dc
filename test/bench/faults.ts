/** The random mix of faults for as long as one likes: prints what happens, and fails when a promise was broken. */
import { parseArgs } from "node:util";
import { runMix } from "../support/mix.ts";

export async function faultsBench(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: "string", default: String(Date.now() % 100_000) },
      minutes: { type: "string", default: "10" },
      rate: { type: "string", default: "30" },
    },
  });
  const [seed, minutes, perSecond] = [Number(values.seed), Number(values.minutes), Number(values.rate)];
  console.log(`seed ${seed}, ${minutes} minutes, ${perSecond} calls/s`);
  const { accepted, faults, broken, logs } = await runMix({
    seed,
    seconds: minutes * 60,
    perSecond,
    onEvent: (line) => console.log(line),
  });
  for (const line of broken) console.log(line);
  console.log(`\n${accepted} calls accepted, ${faults} faults, ${broken.length} promises broken (seed ${seed})`);
  if (broken.length === 0) return;
  console.log(`fabric's logs are in ${logs}`);
  process.exitCode = 1;
}
