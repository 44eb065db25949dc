/** The command tree of `fabric`: names, arguments, options and help. What a command does is loaded when it is called. */
import { Command, Option } from "commander";
import type { Context } from "./context.ts";
import type { Terminal } from "./terminal.ts";

type LocalName = "up" | "down" | "env" | "status" | "doctor";
export type LocalCommands = Record<
  LocalName,
  (options: Record<string, never>, context: { environment: NodeJS.ProcessEnv; output: Terminal }) => Promise<boolean>
>;

type Finish = (exitCode: number) => void;

export function program(context: Context, local: () => Promise<LocalCommands>, finish: Finish): Command {
  const root = new Command("fabric")
    .description("A self-hosted serverless function fabric on containers.")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.terminal.write(text),
      writeErr: (text) => context.terminal.note(text.trimEnd()),
    })
    .enablePositionalOptions()
    .showHelpAfterError("(fabric --help lists the commands)")
    .configureHelp({ sortSubcommands: false })
    .version("0.1.0");
  addLocal(root, context, local, finish);
  addDaily(root, context, finish);
  addApps(root, context);
  addInvocations(root, context, finish);
  addCheckpoints(root, context);
  addOperator(root, context);
  for (const command of everyCommand(root)) command.option("--json", "answer with JSON on stdout");
  addInvoke(root, context, finish);
  return root;
}

/** All commands that do something; groups are left out. */
export function everyCommand(root: Command): Command[] {
  return root.commands.flatMap((command) => (command.commands.length > 0 ? everyCommand(command) : [command]));
}

function addLocal(root: Command, context: Context, local: () => Promise<LocalCommands>, finish: Finish): void {
  const dataDir = ["--data-dir <dir>", "where this fabric keeps everything (FABRIC_DATA_DIR)"] as const;
  const act = (name: LocalName) => async (options: Record<string, never>) => {
    const commands = await local();
    const well = await commands[name](options, { environment: context.environment, output: context.terminal });
    if (!well) finish(1);
  };
  root
    .command("up")
    .description("start a fabric on this machine: Redis, S3 endpoint, gateway and runner")
    .addOption(new Option("--engine <engine>", "what makes containers").choices(["auto", "docker", "process"]))
    .option(...dataDir)
    .option("--host <address>", "address to bind; anything but loopback is reachable by others")
    .option("--port <n>", "the gateway's port; 0: any free one")
    .option("--redis-port <n>", "Redis' port; 0: any free one")
    .option("--s3-port <n>", "the S3 endpoint's port; 0: any free one")
    .option("--foreground", "stay in this terminal until Ctrl-C")
    .action(act("up"));
  root
    .command("down")
    .description("stop the fabric of this machine")
    .option(...dataDir)
    .action(act("down"));
  root
    .command("status")
    .description("what of a fabric runs here; exit code 1 when nothing")
    .option(...dataDir)
    .action(act("status"));
  root
    .command("env")
    .description('print variables for curl, SDKs and S3 clients: eval "$(fabric env)"')
    .option(...dataDir)
    .action(act("env"));
  root
    .command("doctor")
    .description("what is missing on this machine and how to get it")
    .option(...dataDir)
    .action(act("doctor"));
}

function addDaily(root: Command, context: Context, finish: Finish): void {
  root
    .command("deploy")
    .description("deploy a Python app as its next version")
    .argument("<path>", "the app's file or package")
    .option("--name <app>", "deploy under another name")
    .action(async (path, options) => (await import("./commands/deploy.ts")).deploy(path, options, context));
  root
    .command("run")
    .description("run a local entrypoint, or call a function, of an app that lives only as long as this command")
    .argument("<target>", "PATH, or PATH::NAME of an entrypoint or function")
    .argument("[args...]", "passed on, e.g. --epochs 3")
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (target, args) => finish(await (await import("./commands/run.ts")).run(target, args, context)));
  root
    .command("logs")
    .description("what functions print")
    .argument("[app]")
    .option("-f, --follow", "stay and print what comes")
    .option("--function <fn>", "of this function only")
    .option("--invocation <id>", "of this invocation only")
    .option("--tail <n>", "the last n lines", "200")
    .action(async (app, options) => (await import("./commands/logs.ts")).logs(app, options, context));
}

/** `--json` is its body here, and its answer is JSON in any case. */
function addInvoke(root: Command, context: Context, finish: Finish): void {
  root
    .command("invoke")
    .description("call a function and print its result")
    .argument("<function>", "APP/FUNCTION")
    .option("--json <body>", "arguments as JSON: an object of named ones or an array; @FILE or @- reads them")
    .option("--arg <k=v...>", "one named argument; JSON where it parses, else text")
    .option("--async", "print the invocation's id and do not wait")
    .option("--wait <seconds>", "wait at most so long, then exit with 6")
    .option("--follow", "print what the function prints while it runs")
    .option("--key <idempotency-key>", "make repeats of this command the same call")
    .option("--version <v>", "call this version instead of the current one")
    .action(async (target, options) =>
      finish(await (await import("./commands/invoke.ts")).invoke(target, options, context)),
    );
}

function addApps(root: Command, context: Context): void {
  const app = root.command("app").description("deployed apps and their versions");
  const load = () => import("./commands/app.ts");
  app
    .command("list")
    .description("all apps")
    .action(async (o) => (await load()).list(o, context));
  app
    .command("show")
    .description("an app's functions and URLs")
    .argument("<app>")
    .action(async (name, o) => (await load()).show(name, o, context));
  app
    .command("versions")
    .description("an app's versions")
    .argument("<app>")
    .action(async (name, o) => (await load()).versions(name, o, context));
  app
    .command("rollback")
    .description("make an earlier version the current one")
    .argument("<app>")
    .argument("[version]", "default: the one before the current")
    .action(async (name, version, o) => (await load()).rollback(name, version, o, context));
  app
    .command("delete")
    .description("delete an app; its checkpoints stay")
    .argument("<app>")
    .action(async (name, o) => (await load()).remove(name, o, context));
}

function addInvocations(root: Command, context: Context, finish: Finish): void {
  const invocation = root.command("invocation").description("calls, running and ended");
  const load = () => import("./commands/invocation.ts");
  invocation
    .command("list")
    .description("the latest calls")
    .option("--app <app>")
    .option("--function <fn>")
    .option("--limit <n>", "so many at most", "20")
    .action(async (o) => (await load()).list(o, context));
  invocation
    .command("show")
    .description("one call: state, reason, moments")
    .argument("<id>")
    .action(async (id, o) => (await load()).show(id, o, context));
  invocation
    .command("result")
    .description("a call's result, waiting for it")
    .argument("<id>")
    .option("--wait <seconds>", "wait at most so long, then exit with 6")
    .action(async (id, o) => finish(await (await load()).result(id, o, context)));
  invocation
    .command("cancel")
    .description("end a call")
    .argument("<id>")
    .action(async (id, o) => (await load()).cancel(id, o, context));
}

function addCheckpoints(root: Command, context: Context): void {
  const checkpoint = root.command("checkpoint").description("what functions saved on purpose");
  const load = () => import("./commands/checkpoint.ts");
  checkpoint
    .command("list")
    .description("all series, or one series' checkpoints")
    .argument("[series]")
    .action(async (series, o) => (await load()).list(series, o, context));
  checkpoint
    .command("show")
    .description("one checkpoint's metrics and files")
    .argument("<checkpoint>", "SERIES:STEP, or SERIES for the latest")
    .action(async (name, o) => (await load()).show(name, o, context));
  checkpoint
    .command("pull")
    .description("fetch a checkpoint's files, verified, all or none")
    .argument("<checkpoint>", "SERIES:STEP, or SERIES for the latest")
    .argument("[dir]", "default: ./SERIES-STEP")
    .option("--best <metric>", "the one with the best value of this metric")
    .addOption(new Option("--order <order>", "which value is the best").choices(["max", "min"]))
    .option("--force", "replace a directory that is there already")
    .action(async (name, dir, o) => await (await import("./commands/pull.ts")).pull(name, dir, o, context));
}

function addOperator(root: Command, context: Context): void {
  const load = () => import("./commands/operator.ts");
  const node = root.command("node").description("machines of the fabric");
  node
    .command("list")
    .description("all nodes")
    .action(async (o) => (await load()).nodes(o, context));
  const container = root.command("container").description("running sandboxes");
  container
    .command("list")
    .description("all containers")
    .action(async (o) => (await load()).containers(o, context));
  const token = root.command("token").description("who may use this fabric");
  token
    .command("create")
    .description("make a token; it is shown once")
    .argument("<name>", "what or whom it is for")
    .option("--expires-in <seconds>", "default: never")
    .action(async (name, o) => (await load()).createToken(name, o, context));
  token
    .command("list")
    .description("all tokens, without their secrets")
    .action(async (o) => (await load()).tokens(o, context));
  token
    .command("revoke")
    .description("make a token worthless")
    .argument("<id>")
    .action(async (id, o) => (await load()).revokeToken(id, o, context));
}
