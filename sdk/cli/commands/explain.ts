/** `fabric explain ID`: the whole story of one call, for a person. */
import type { ExplainedAttempt, Explanation } from "../../typescript/client.ts";
import type { Context } from "../context.ts";
import { cell, moment } from "../table.ts";
import type { Terminal } from "../terminal.ts";

export async function explain(id: string, options: { json?: boolean }, { terminal, client }: Context): Promise<void> {
  const story = await client().explain(id);
  if (options.json) return terminal.json(story);
  for (const line of explanation(story, terminal.paint)) terminal.out(line);
}

/** Pure: sections without content are left out. */
export function explanation(story: Explanation, paint: Terminal["paint"]): string[] {
  const { invocation, summary } = story;
  const facts = [
    `${invocation.id}, version ${invocation.version}, created ${moment(invocation.createdAt)}`,
    ...(typeof invocation.ahead === "number" ? [`place in the queue: ${invocation.ahead} ahead`] : []),
    ...estimate(invocation),
  ];
  return [
    paint.bold(summary),
    ...facts.map((line) => paint.dim(line)),
    ...section("What to do", advice(story), paint),
    ...section("Attempts", story.attempts.flatMap(attemptLines), paint),
    ...section("Budgets", budgetLines(story), paint),
    ...section("Calls", callLines(story), paint),
    ...section("Needs", needLines(story), paint),
    ...section("Nodes", nodeLines(story), paint),
    ...section(
      "Last lines",
      story.logs.map(({ at, rank, text }) => `${moment(at).slice(11)}${rankOf(rank)} ${text.trimEnd()}`),
      paint,
    ),
  ];
}

const section = (title: string, lines: readonly string[], paint: Terminal["paint"]): string[] =>
  lines.length === 0 ? [] : ["", paint.bold(title), ...lines.map((line) => `  ${line}`)];

function estimate({ state, estimateMs, container }: Explanation["invocation"]): string[] {
  if (state !== "queued" && (state !== "running" || container !== undefined)) return [];
  return [typeof estimateMs === "number" ? `it runs in about ${ms(estimateMs)}` : "when it runs is unknown"];
}

function advice({ verdict, invocation: { id, state } }: Explanation): string[] {
  if (state === "succeeded") return [`fabric invocation result ${id}`];
  if (!verdict) return [];
  const who = verdict.fault === "user" ? "the function or its caller" : "fabric or its machines";
  return [
    `at fault: ${who}${verdict.retryable ? "; the same call may succeed later" : ""}`,
    ...(verdict.help ? [verdict.help] : []),
    `all it printed: fabric logs ${id}`,
  ];
}

function attemptLines({
  generation,
  node,
  container,
  claimedAt,
  outcome,
  charged,
  timings,
}: ExplainedAttempt): string[] {
  const where = [node && `on ${node}`, container && `in ${container}`].filter(Boolean).join(" ");
  const paid = charged === undefined || charged === "none" ? "" : ` (charged to the ${charged} budget)`;
  const phases = Object.entries(timings).map(([phase, spent]) => `${phase} ${ms(spent)}`);
  return [
    `g${generation}  ${moment(claimedAt)}  ${where || "no container yet"}`,
    ...(phases.length > 0 ? [`    ${phases.join(", ")}`] : []),
    `    ${outcome}${paid}`,
  ];
}

function budgetLines({ budgets: { user, platform } }: Explanation): string[] {
  return [
    `user faults: ${user.spent}, retries allowed: ${user.of}`,
    `platform faults: ${platform.spent}, survived: up to ${platform.of}`,
  ];
}

function callLines({ invocation: { parent, root, children } }: Explanation): string[] {
  return [
    ...(typeof parent === "string"
      ? [`called by ${parent}${root === parent ? "" : `, first of all by ${cell(root)}`}`]
      : []),
    ...(Array.isArray(children) ? children.map((id) => `called ${id}`) : []),
  ];
}

function needLines({ needs }: Explanation): string[] {
  if (!needs) return [];
  const { cpu, memoryMiB, gpu, slots, maxContainers, gang } = needs;
  const each = `${cpu} cpu, ${memoryMiB} MiB${gpu === undefined ? "" : `, gpu ${cell(gpu)}`}`;
  if (gang !== undefined) return [`a gang of ${gang}, per container: ${each}; at most ${maxContainers} gangs`];
  return [`per container: ${each}; ${slots} inputs at once, at most ${maxContainers} containers`];
}

const rankOf = (rank: number | undefined): string => (rank === undefined ? "" : ` [${rank}]`);

const nodeLines = ({ nodes = [] }: Explanation): string[] =>
  nodes.flatMap(({ node, free, held }) => [
    `${node}: ${free.cpu} cpu, ${free.memoryMiB} MiB, ${free.gpus} gpus free`,
    ...held.map(
      (one) => `    ${one.containers} containers${one.gpus > 0 ? `, ${one.gpus} gpus` : ""} of ${one.function}`,
    ),
  ]);

export const ms = (value: number): string =>
  value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(1)} s`;
