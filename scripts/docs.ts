/** Writes the documents that are made from tables and schemas; with --check only says which are stale. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Argument, Command, Option } from "commander";
import { SETTINGS } from "../core/config.ts";
import { ERRORS, type ErrorKind } from "../core/errors.ts";
import { createApp } from "../gateway/app.ts";
import type { GatewayDeps } from "../gateway/deps.ts";
import { openApiDocument } from "../gateway/routes/health.ts";
import { createContext } from "../sdk/cli/context.ts";
import { EXIT_CODES } from "../sdk/cli/exit-codes.ts";
import { everyCommand, program } from "../sdk/cli/program.ts";
import { terminal } from "../sdk/cli/terminal.ts";

const MADE = "<!-- Made by `npm run docs`; change the table it is made from. -->";
const text = (value: string): string => value.replaceAll("|", "\\|").replaceAll("\n", " ");
const row = (cells: readonly string[]): string => `| ${cells.map(text).join(" | ")} |`;
const rule = (columns: number): string => `|${" --- |".repeat(columns)}`;

export function errorsPage(): string {
  const rows = Object.entries<ErrorKind>(ERRORS).map(([code, kind]) =>
    row([`\`${code}\``, String(kind.status), kind.retryable ? "yes" : "no", kind.fault, kind.help]),
  );
  return page("Errors", [
    "Every failure has the same JSON shape, in replies, records and events:",
    '`{"error": {"code", "message", "retryable", "fault", "details"?}}`. `retryable` says whether the same request may succeed',
    "later without a change; `fault` says who has to act. Replies of status 429 and 503 carry `Retry-After`.",
    "",
    row(["code", "status", "retryable", "fault", "what it means and what to do"]),
    rule(5),
    ...rows,
  ]);
}

export function configurationPage(): string {
  const rows = Object.values(SETTINGS).map((setting) => {
    const shown = "secret" in setting ? "(secret)" : fallbackOf(setting.variable, setting.fallback);
    return row([`\`${setting.variable}\``, shown, setting.help]);
  });
  return page("Configuration", [
    "Fabric is configured by environment variables, read once when a process starts. `fabric up` needs none of them.",
    "A flag of `fabric up` is the same as its variable, given for one start.",
    "",
    row(["variable", "default", "meaning"]),
    rule(3),
    ...rows,
  ]);
}

/** Defaults that depend on the machine are written so that the page is the same on every machine. */
function fallbackOf(variable: string, fallback: string | number): string {
  if (variable === "FABRIC_DATA_DIR") return "`~/.local/share/fabric`, for root `/var/lib/fabric`";
  if (variable === "FABRIC_CA_BUNDLE") return "`$NODE_EXTRA_CA_CERTS`";
  if (fallback === "") return "(empty)";
  return `\`${String(fallback).replace(homedir(), "~")}\``;
}

const commandTree = (): Command => {
  const silent = { write: () => true };
  const context = createContext(terminal(silent, silent, {}), {}, new AbortController().signal);
  const nothing = (): never => {
    throw new Error("a document is not a command line");
  };
  return program(context, nothing, nothing);
};

export function cliPage(): string {
  const sections = everyCommand(commandTree()).flatMap(commandSection);
  const codes = Object.values(EXIT_CODES).map(({ code, help }) => row([String(code), help]));
  return page("The fabric command", [
    "Answers go to stdout, everything else to stderr. `--json` makes the answer JSON. Colour and progress appear only on a",
    "terminal, and colour not where `NO_COLOR` is set.",
    "",
    "## Exit codes",
    "",
    row(["code", "meaning"]),
    rule(2),
    ...codes,
    "",
    ...sections,
  ]);
}

function commandSection(command: Command): string[] {
  const path = [command.name()];
  for (let up = command.parent; up; up = up.parent) path.unshift(up.name());
  const argumentText = (one: Argument): string => `- \`${one.name()}\`${one.description ? `: ${one.description}` : ""}`;
  const optionText = (one: Option): string => {
    const choices = one.argChoices ? ` (${one.argChoices.join(", ")})` : "";
    return `- \`${one.flags}\`${one.description ? `: ${one.description}` : ""}${choices}`;
  };
  return [
    `## ${path.join(" ")}`,
    "",
    `${command.description()}.`,
    "",
    `    ${path.join(" ")} ${command.usage()}`,
    "",
    ...command.registeredArguments.map(argumentText),
    ...command.options.map(optionText),
    "",
  ];
}

/** The routes describe themselves when the app is put together; nothing here is ever called. */
export const openApi = (): string =>
  `${JSON.stringify(openApiDocument(createApp({ adminToken: "" } as GatewayDeps)), null, 2)}\n`;

const page = (title: string, lines: readonly string[]): string =>
  `# ${title}\n\n${MADE}\n\n${lines.join("\n").trimEnd()}\n`;

const DOCUMENTS: Record<string, () => string> = {
  "docs/reference/cli.md": cliPage,
  "docs/reference/configuration.md": configurationPage,
  "docs/reference/errors.md": errorsPage,
  "docs/openapi.json": openApi,
};

function main(check: boolean): number {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const stale = Object.entries(DOCUMENTS).filter(([path, make]) => {
    const file = join(root, path);
    const fresh = make();
    if (existsSync(file) && readFileSync(file, "utf8") === fresh) return false;
    if (check) return true;
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, fresh);
    console.log(`wrote ${path}`);
    return false;
  });
  for (const [path] of stale) console.error(`${path} is stale: npm run docs`);
  return stale.length > 0 ? 1 : 0;
}

process.exitCode = main(process.argv.includes("--check"));
