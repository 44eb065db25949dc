/** The commands that call functions: once, or once for each line of a file. */
import type { Command } from "commander";
import type { Context } from "./context.ts";

/** Sets the exit code. */
export type Finish = (exitCode: number) => void;

/** `--json` is its body here, and its answer is JSON in any case. */
export function addInvoke(root: Command, context: Context, finish: Finish): void {
  root
    .command("invoke")
    .description("call a function and print its result")
    .argument("<function>", "APP/FUNCTION, or APP/CLASS.METHOD")
    .option("--json <body>", "arguments as JSON: an object of named ones or an array; @FILE or @- reads them")
    .option("--arg <k=v...>", "one named argument; JSON where it parses, else text")
    .option("--parameter <k=v...>", "one parameter of a method's class")
    .option("--async", "print the invocation's id and do not wait")
    .option("--wait <seconds>", "wait at most so long, then exit with 6")
    .option("--follow", "print what the function yields (one JSON value a line) and prints while it runs")
    .option("--idempotency-key <key>", "make repeats of this command the same call")
    .option("--delay <seconds>", "run it so much later")
    .option("--ttl <seconds>", "fail when it has waited so long in its queue")
    .option("--priority <seconds>", "a head start over the function's other queued calls; negative: others go first")
    .option("--key <key>", "whose call it is, where the function has a key_concurrency")
    .option("--debounce <seconds>", "of calls with the same --debounce-key only the last runs, so long after it")
    .option("--debounce-key <key>", "default: one for all calls of the function")
    .option("--webhook <url>", "tell this URL of the outcome")
    .option("--version <v>", "call this version instead of the current one")
    .action(async (target, options) =>
      finish(await (await import("./commands/invoke.ts")).invoke(target, options, context)),
    );
}

export function addMap(root: Command, context: Context, finish: Finish): void {
  root
    .command("map")
    .description("call a function once for each line of a file; an outcome line for each, exit code 1 when some failed")
    .argument("<function>", "APP/FUNCTION, or APP/CLASS.METHOD")
    .argument("[file]", "JSON lines: arrays of positional arguments or objects of named ones; - reads stdin", "-")
    .option("--output <file>", "write the outcomes there; the file is there once all have ended")
    .option("--unordered", "outcomes as they come, not in the order of the inputs")
    .option("--parameter <k=v...>", "one parameter of a method's class")
    .option("--ttl <seconds>", "an input that has waited so long in its queue fails")
    .option("--priority <seconds>", "a head start over the function's other queued calls; negative: others go first")
    .option("--key <key>", "whose map it is, where the function has a key_concurrency")
    .option("--webhook <url>", "tell this URL when the map has ended")
    .option("--idempotency-key <key>", "make repeats of this command the same map")
    .option("--version <v>", "call this version instead of the current one")
    .action(async (target, file, options) =>
      finish(await (await import("./commands/map.ts")).map(target, file, options, context)),
    );
}
