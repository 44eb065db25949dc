/** `fabric map APP/FUNCTION [FILE]`: a call for each line of a file, an outcome line for each. */
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import { finished } from "node:stream/promises";
import type { MapOutcome } from "../../typescript/map.ts";
import { type Context, UsageError } from "../context.ts";
import { EXIT_CODES } from "../exit-codes.ts";
import { headStart } from "./invocation.ts";
import { nameAndText } from "./invoke.ts";

export interface MapCommandOptions {
  output?: string;
  unordered?: boolean;
  parameter?: string[];
  ttl?: string;
  priority?: string;
  key?: string;
  webhook?: string;
  idempotencyKey?: string;
  version?: string;
}

export async function map(target: string, file: string, options: MapCommandOptions, context: Context): Promise<number> {
  const [app, fn, ...rest] = target.split("/");
  if (!app || !fn || rest.length > 0) throw new UsageError(`'${target}' is not APP/FUNCTION`);
  const { terminal, signal } = context;
  const counts = { sent: 0, ended: 0, failed: 0 };
  const outcomes = context.client().map(app, fn, inputs(file), {
    parameters: options.parameter && Object.fromEntries(options.parameter.map(nameAndText)),
    ttl: options.ttl === undefined ? undefined : Number(options.ttl),
    priority: options.priority === undefined ? undefined : headStart(options.priority),
    key: options.key,
    webhook: options.webhook,
    idempotencyKey: options.idempotencyKey,
    version: options.version,
    unordered: options.unordered,
    onSent: (sent) => (counts.sent = sent),
    signal,
  });
  const sink = options.output === undefined ? terminalSink(context) : await fileSink(options.output);
  try {
    for await (const outcome of outcomes) {
      counts.ended++;
      if (outcome.error) counts.failed++;
      terminal.status(`${counts.ended} of ${counts.sent} inputs ended, ${counts.failed} failed`);
      await sink.write(outcome);
    }
    await sink.close();
  } catch (error) {
    await sink.abandon();
    throw error;
  } finally {
    terminal.status(undefined);
  }
  if (terminal.interactive) terminal.note(`${counts.ended} inputs, ${counts.failed} failed`);
  return counts.failed > 0 ? EXIT_CODES.failed.code : EXIT_CODES.ok.code;
}

interface Sink {
  write(outcome: MapOutcome): Promise<void>;
  close(): Promise<void>;
  abandon(): Promise<void>;
}

const terminalSink = ({ terminal }: Context): Sink => ({
  write: async (outcome) => terminal.out(JSON.stringify(outcome)),
  close: async () => {},
  abandon: async () => {},
});

/** The file is there when it is whole. */
async function fileSink(path: string): Promise<Sink> {
  const partial = `${path}.part`;
  const stream = createWriteStream(partial);
  await once(stream, "open");
  return {
    async write(outcome) {
      if (!stream.write(`${JSON.stringify(outcome)}\n`)) await once(stream, "drain");
    },
    async close() {
      stream.end();
      await finished(stream);
      await rename(partial, path);
    },
    async abandon() {
      stream.destroy();
      await rm(partial, { force: true });
    },
  };
}

async function* inputs(file: string): AsyncGenerator<unknown> {
  const source = file === "-" ? process.stdin : (await opened(file)).createReadStream();
  let number = 0;
  for await (const line of createInterface({ input: source, crlfDelay: Number.POSITIVE_INFINITY })) {
    number++;
    if (line.trim() !== "") yield parsed(line, number);
  }
}

async function opened(file: string) {
  try {
    return await open(file);
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

function parsed(line: string, number: number): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new UsageError(`line ${number} is not JSON: ${(error as Error).message}`, { cause: error });
  }
}
