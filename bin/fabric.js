#!/usr/bin/env node
/** The `fabric` command: checks Node, makes TypeScript sources runnable, and joins the client commands with the local ones. */
import process from "node:process";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`fabric needs Node 20.19 or newer; this is ${process.versions.node}. See https://nodejs.org\n`);
  process.exit(2);
}

const tsx = await import("tsx/esm/api").catch((error) => {
  if (error?.code !== "ERR_MODULE_NOT_FOUND") throw error;
  process.stderr.write("fabric's dependencies are not installed. Run `npm ci` in fabric's folder first.\n");
  process.exit(2);
});
tsx.register();

// `fabric logs -f | head` closes our output: then there is nobody to tell anything any more
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(141);
  });

const { runCli } = await import("../sdk/cli/run.ts");
process.exitCode = await runCli({
  argv: process.argv.slice(2),
  environment: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  local: async () => (await import("../local/commands.ts")).localCommands,
});
