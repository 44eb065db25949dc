/** `fabric app ...`: deployed apps, their versions, and the way back to an earlier one. */
import type { Context } from "../context.ts";
import { cell, moment, rowsOf, table } from "../table.ts";
import { calledNames, type Runnable } from "./run.ts";

interface Json {
  json?: boolean;
}

export async function list(options: Json, { terminal, client }: Context): Promise<void> {
  const body = await client().apps();
  if (options.json) return terminal.json(body);
  const rows = rowsOf(body).map((row) => ({
    ...row,
    app: row.app ?? row.name,
    version: row.version ?? row.current,
    functions: Array.isArray(row.functions)
      ? row.functions.map((fn) => (typeof fn === "object" && fn !== null && "name" in fn ? fn.name : fn))
      : row.functions,
  }));
  if (rows.length === 0) return terminal.note("no app is deployed yet: fabric deploy APP.py");
  for (const line of table(rows, ["app", "version", "functions"])) terminal.out(line);
}

export async function show(name: string, options: Json, { terminal, client }: Context): Promise<void> {
  const app = await client().app(name);
  if (options.json) return terminal.json(app);
  terminal.out(`${name} version ${cell(app.version ?? app.current)}`);
  const urls = (app.urls ?? {}) as Record<string, string>;
  const rows = rowsOf(app.functions).flatMap((row) =>
    calledNames(row as unknown as Runnable).map((called) => ({
      ...row,
      function: called,
      url: urls[called] ?? row.url,
    })),
  );
  for (const line of table(rows, ["function", "cpu", "memory", "gpu", "timeout", "url"])) terminal.out(line);
}

export async function versions(name: string, options: Json, { terminal, client }: Context): Promise<void> {
  const body = await client().versions(name);
  if (options.json) return terminal.json(body);
  const current = body !== null && typeof body === "object" && "current" in body ? String(body.current) : undefined;
  const rows = rowsOf(body).map((row) => {
    const version = row.version ?? row.name;
    const isCurrent = row.current === true || (current !== undefined && String(version) === current);
    return { ...row, version, created: moment(row.createdAt), current: isCurrent ? "*" : "" };
  });
  for (const line of table(rows, ["version", "current", "created"])) terminal.out(line);
}

export async function rollback(
  name: string,
  version: string | undefined,
  options: Json,
  { terminal, client }: Context,
): Promise<void> {
  const answer = await client().rollback(name, version);
  if (options.json) return terminal.json(answer);
  terminal.out(`${name} is at version ${cell(answer.version ?? answer.current)} now`);
}

export async function remove(name: string, options: Json, { terminal, client }: Context): Promise<void> {
  await client().deleteApp(name);
  if (options.json) terminal.json({ app: name, deleted: true });
  else terminal.out(`${name} is deleted`);
}
