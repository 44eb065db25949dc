/** The `fabric` command joins the client's commands with those for a fabric on this machine. */
import process from "node:process";
import { runCli } from "../sdk/cli/run.ts";

// `fabric logs -f | head` closes our output: then there is nobody to tell anything any more
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(141);
  });

process.exitCode = await runCli({
  argv: process.argv.slice(2),
  environment: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  local: async () => (await import("../local/commands.ts")).localCommands,
});
