/** `fabric invoke APP/FUNCTION`: one call, its result on stdout, its prints on stderr if wanted. */
import { readFileSync, statSync } from "node:fs";
import { FabricError } from "../../../core/errors.ts";
import type { Answer, Client } from "../../typescript/client.ts";
import { untilEnded } from "../../typescript/until-ended.ts";
import { UPLOAD_BYTES, type Upload, withFile } from "../../typescript/upload.ts";
import { type Context, UsageError } from "../context.ts";
import { EXIT_CODES } from "../exit-codes.ts";
import { followEvents } from "./follow-events.ts";
import { headStart, printAnswer, seconds } from "./invocation.ts";
import { followInvocation } from "./logs.ts";

export interface InvokeOptions {
  json?: string;
  arg?: string[];
  parameter?: string[];
  async?: boolean;
  wait?: string;
  follow?: boolean;
  idempotencyKey?: string;
  delay?: string;
  ttl?: string;
  priority?: string;
  key?: string;
  debounce?: string;
  debounceKey?: string;
  webhook?: string;
  version?: string;
}

/** `curl` users get the gateway's default; people at a terminal wait for their result. */
const FOREVER_SECONDS = 30 * 86_400;

export async function invoke(target: string, options: InvokeOptions, context: Context): Promise<number> {
  const [app, fn, ...rest] = target.split("/");
  if (!app || !fn || rest.length > 0) throw new UsageError(`'${target}' is not APP/FUNCTION`);
  const { terminal, signal } = context;
  const client = context.client();
  const body = await inputOf(options, client, signal);
  const waitSeconds = options.wait === undefined ? FOREVER_SECONDS : seconds(options.wait);
  const call = (wait: number): Promise<Answer> =>
    client.invoke(app, fn, body, {
      parameters: options.parameter && Object.fromEntries(options.parameter.map(nameAndText)),
      version: options.version,
      idempotencyKey: options.idempotencyKey,
      delay: optionalSeconds(options.delay),
      ttl: optionalSeconds(options.ttl),
      priority: options.priority === undefined ? undefined : headStart(options.priority),
      key: options.key,
      debounce: optionalSeconds(options.debounce),
      debounceKey: options.debounceKey,
      webhook: options.webhook,
      waitSeconds: wait,
      signal,
    });
  let follows = options.follow === true;
  const accepted = await call(options.async || follows ? 0 : waitSeconds).catch((error: unknown) => {
    if (!(error instanceof FabricError) || error.code !== "generator_needs_stream") throw error;
    follows = true;
    return call(0);
  });
  if (options.async) {
    terminal.out(accepted.id);
    return EXIT_CODES.ok.code;
  }
  if (follows) return follow(accepted, options, context, app);
  const onPending = (pending: { reason?: string; state: string }): void =>
    terminal.status(pending.reason ?? pending.state);
  const answer = await untilEnded(client, accepted, waitSeconds, onPending, signal);
  terminal.status(undefined);
  return printAnswer(answer, terminal);
}

async function follow(accepted: Answer, options: InvokeOptions, context: Context, app: string): Promise<number> {
  const ended = new AbortController();
  const logs = options.follow
    ? followInvocation(app, accepted.id, context, AbortSignal.any([context.signal, ended.signal]))
    : Promise.resolve();
  try {
    const giveUp = options.wait === undefined ? undefined : AbortSignal.timeout(seconds(options.wait) * 1000);
    return await followEvents(accepted, context, giveUp);
  } finally {
    ended.abort();
    await logs;
  }
}

const optionalSeconds = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : seconds(text);

/** A large file goes to the bucket as it is, a part at a time: whether it is JSON is found out in the container. */
async function inputOf(options: InvokeOptions, client: Client, signal: AbortSignal): Promise<string | Upload> {
  const file = options.arg || !options.json?.startsWith("@") ? "-" : options.json.slice(1);
  if (file === "-" || statSync(file).size <= UPLOAD_BYTES) return callBody(options);
  return withFile(file, (bytes) => client.upload(bytes, signal));
}

export function callBody(options: Pick<InvokeOptions, "json" | "arg">): string {
  if (options.json !== undefined && options.arg) throw new UsageError("give --json or --arg, not both");
  if (options.arg) return JSON.stringify(Object.fromEntries(options.arg.map(parseArgument)));
  if (options.json === undefined) return "{}";
  const text = options.json.startsWith("@") ? readBody(options.json.slice(1)) : options.json;
  try {
    JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--json is not JSON: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  return text;
}

const readBody = (file: string): string => readFileSync(file === "-" ? 0 : file, "utf8");

function parseArgument(text: string): [string, unknown] {
  const [name, value] = nameAndText(text);
  try {
    return [name, JSON.parse(value)];
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return [name, value];
  }
}

export function nameAndText(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at < 1) throw new UsageError(`${text} is not NAME=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}
