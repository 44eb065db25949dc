/** The command tree of `fabric`: names, arguments, options and help. What a command does is loaded when it is called. */
import { Command, Option } from "commander";
import { addInvoke, addMap, type Finish } from "./call-commands.ts";
import type { Context } from "./context.ts";
import { addOperator } from "./operator-commands.ts";
import type { Terminal } from "./terminal.ts";

type LocalName = "up" | "down" | "env" | "status" | "doctor";
export type LocalCommands = Record<
  LocalName,
  (options: Record<string, never>, context: { environment: NodeJS.ProcessEnv; output: Terminal }) => Promise<boolean>
>;

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
  addSchedules(root, context);
  addCheckpoints(root, context);
  addOperator(root, context);
  for (const command of everyCommand(root)) command.option("--json", "answer with JSON on stdout");
  addInvoke(root, context, finish);
  addMap(root, context, finish);
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
    .command("explain")
    .description("why a call is where it is: reason, place, estimate, every attempt, verdict, last lines")
    .argument("<id>")
    .action(async (id, options) => (await import("./commands/explain.ts")).explain(id, options, context));
  root
    .command("top")
    .description("what functions and nodes do, live on a terminal")
    .option("--once", "print it once")
    .action(async (options) => (await import("./commands/top.ts")).top(options, context));
  root
    .command("logs")
    .description("what functions print")
    .argument("[target]", "APP, APP/FUNCTION, or an invocation's id; may be left out where there is one app")
    .option("-f, --follow", "stay and print what comes")
    .option("--since <when>", "from then on: 30s, 10m, 2h, 3d back, or an ISO date or date-time")
    .option("--until <when>", "up to then, in the same forms")
    .option("--grep <text>", "lines that contain this text")
    .option("--regex <pattern>", "lines that match this JavaScript regular expression; evaluated here")
    .addOption(new Option("--source <source>", "what printed it").choices(["stdout", "stderr", "system"]))
    .option("--tail <n>", "the last n lines; default: 200, or with --since all")
    .option("--function <fn>", "of this function only")
    .option("--invocation <id>", "of this invocation only")
    .option("--tree", "with an invocation: of all calls of its app that began with the same one")
    .action(async (target, options) => (await import("./commands/logs.ts")).logs(target, options, context));
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
    .addOption(new Option("--state <state>").choices(["queued", "running", "succeeded", "failed", "cancelled"]))
    .option("--since <time>", "not older: 90s, 15m, 2h, 7d, or a date")
    .option("--parent <id>", "calls that this one made")
    .option("--limit <n>", "so many at most", "20")
    .action(async (o) => (await load()).list(o, context));
  invocation
    .command("show")
    .description("one call: state, reason, moments")
    .argument("<id>")
    .option("--input <n>", "of a map, the input of this index: where it is, or what it ended with")
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
  invocation
    .command("redrive")
    .description("run failed calls again with their stored input, on the current version")
    .argument("[ids...]", "these, or all failed ones that --app, --function and --since choose")
    .option("--app <app>")
    .option("--function <fn>")
    .option("--since <time>", "that failed since then: 90s, 15m, 2h, 7d, or a date")
    .addOption(new Option("--state <state>", "of these").choices(["failed", "cancelled"]).default("failed"))
    .action(async (ids, o) => finish(await (await import("./commands/redrive.ts")).redrive(ids, o, context)));
}

function addSchedules(root: Command, context: Context): void {
  const schedule = root.command("schedule").description("functions that run by themselves");
  const load = () => import("./commands/schedule.ts");
  schedule
    .command("list")
    .description("all schedules: next and last tick, last call")
    .action(async (o) => (await load()).list(o, context));
  schedule
    .command("pause")
    .description("let no tick come until it is resumed")
    .argument("<function>", "APP/FUNCTION")
    .action(async (target, o) => (await load()).pause(target, o, context));
  schedule
    .command("resume")
    .description("let ticks come again, from the next one on")
    .argument("<function>", "APP/FUNCTION")
    .action(async (target, o) => (await load()).resume(target, o, context));
  schedule
    .command("trigger")
    .description("run it now, in between; prints the call's id")
    .argument("<function>", "APP/FUNCTION")
    .action(async (target, o) => (await load()).trigger(target, o, context));
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
    .description("one checkpoint's metrics and files, and where it comes from")
    .argument("<checkpoint>", "SERIES:STEP, SERIES:TAG, SERIES:best, or SERIES for the latest")
    .option("--plot [file.png]", "draw the curves of the series' metrics, in the terminal or as a picture")
    .option("--metric <name>", "draw only this one")
    .action(async (name, o) => (await load()).show(name, o, context));
  checkpoint
    .command("metrics")
    .description("every row that was reported to a series, with and without a checkpoint")
    .argument("<series>")
    .option("--rank <rank>", "rows of this rank of a gang, or of 'all', where they are kept (metrics_per_rank)")
    .action(async (series, o) => (await import("./commands/checkpoint-metrics.ts")).metrics(series, o, context));
  checkpoint
    .command("pull")
    .description("fetch a checkpoint's files, in parallel, verified, all or none; one that broke off goes on")
    .argument("<checkpoint>", "SERIES:STEP, SERIES:TAG, SERIES:best, or SERIES for the latest")
    .argument("[dir]", "default: ./SERIES-STEP")
    .option("--best <metric>", "the one with the best value of this metric")
    .addOption(new Option("--order <order>", "which value is the best").choices(["max", "min"]))
    .option("--force", "replace a directory that is there already")
    .action(async (name, dir, o) => await (await import("./commands/pull.ts")).pull(name, dir, o, context));
  checkpoint
    .command("tag")
    .description("point a name such as 'production' at a checkpoint, which then stays")
    .argument("<checkpoint>", "SERIES:STEP, SERIES:TAG, SERIES:best, or SERIES for the latest")
    .argument("<tag>")
    .option("--from <step>", "only when the tag points there until now ('none': nowhere)")
    .action(async (name, tag, o) => (await load()).tag(name, tag, o, context));
  checkpoint
    .command("untag")
    .description("take a tag away; its checkpoint stays until a keep rule removes it")
    .argument("<tag>", "SERIES:TAG")
    .action(async (name, o) => (await load()).untag(name, o, context));
  checkpoint
    .command("rm")
    .description("remove a checkpoint that has no tag")
    .argument("<checkpoint>", "SERIES:STEP")
    .action(async (name, o) => (await load()).remove(name, o, context));
}
