/** Runs one command line: parses it, calls the command, and turns what it throws into a sentence and an exit code. */
import { CommanderError } from "commander";
import { FabricError } from "../../core/errors.ts";
import { createContext, UsageError } from "./context.ts";
import { EXIT_CODES, exitCodeOf } from "./exit-codes.ts";
import { type LocalCommands, program } from "./program.ts";
import { type Stream, type Terminal, terminal } from "./terminal.ts";

export interface CliRun {
  argv: readonly string[];
  environment: NodeJS.ProcessEnv;
  stdout: Stream;
  stderr: Stream;
  /** The commands about this machine, which this folder does not import. */
  local(): Promise<LocalCommands>;
}

export async function runCli(run: CliRun): Promise<number> {
  const screen = terminal(run.stdout, run.stderr, run.environment);
  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) process.exit(EXIT_CODES.interrupted.code);
    stop.abort(new Error("interrupted"));
  };
  process.on("SIGINT", interrupt);
  const context = createContext(screen, run.environment, stop.signal);
  const outcome: { code: number } = { code: EXIT_CODES.ok.code };
  try {
    const command = program(context, run.local, (code) => {
      outcome.code = code;
    });
    await command.parseAsync([...run.argv], { from: "user" });
    return outcome.code;
  } catch (error) {
    screen.status(undefined);
    return stop.signal.aborted ? EXIT_CODES.interrupted.code : explain(error, screen);
  } finally {
    screen.status(undefined);
    process.off("SIGINT", interrupt);
  }
}

const HINTS: Partial<Record<string, string>> = {
  invocation_not_found: "`fabric invocation list` shows what is recorded.",
};

/** One or two lines, and the traceback of the user's function; never a stack of ours: the logs have that. */
export function explain(error: unknown, screen: Terminal): number {
  const label = screen.paint.red("error:");
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODES.ok.code : EXIT_CODES.usage.code;
  if (error instanceof FabricError) {
    screen.note(`${label} ${screen.paint.bold(error.code)}: ${error.message}`);
    // The user's own frames, which are the answer to what went wrong; never ours.
    const traceback = error.details?.traceback;
    if (typeof traceback === "string" && traceback !== "") {
      screen.note(screen.paint.dim(traceback.trimEnd()));
      return exitCodeOf(error);
    }
    const hint = HINTS[error.code] ?? error.kind.help;
    if (hint && !error.message.includes(hint)) screen.note(screen.paint.dim(`  ${hint}`));
    return exitCodeOf(error);
  }
  const failure = error instanceof Error ? error : new Error(String(error));
  screen.note(`${label} ${failure.message}`);
  if ("hint" in failure && typeof failure.hint === "string") screen.note(screen.paint.dim(failure.hint));
  // the local commands have a UsageError of their own, which this folder cannot import
  return failure instanceof UsageError || failure.name === "UsageError"
    ? EXIT_CODES.usage.code
    : EXIT_CODES.failed.code;
}
