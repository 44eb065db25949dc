/** The commands about the fabric itself. */
import type { Command } from "commander";
import type { Context } from "./context.ts";

export function addOperator(root: Command, context: Context): void {
  const load = () => import("./commands/operator.ts");
  const list = (noun: string, what: string, all: string) =>
    root.command(noun).description(what).command("list").description(all);
  list("node", "machines of the fabric", "all nodes").action(async (o) => (await load()).nodes(o, context));
  list("container", "running sandboxes", "all containers").action(async (o) => (await load()).containers(o, context));
  const image = root.command("image").description("environments that functions start from");
  image
    .command("list")
    .description("all on the gateway's node, and what needs them")
    .action(async (o) => (await load()).images(o, context));
  image
    .command("prune")
    .description("remove those that no version needs and nobody has for an hour, there and in the bucket")
    .option("--dry-run", "only say which")
    .action(async (o) => (await load()).pruneImages(o, context));
  root
    .command("webhook")
    .description("calls that tell a URL of their outcome")
    .command("secret")
    .description("print the secret that signs webhooks (administrator's token)")
    .option("--rotate", "make another one; the one before is worthless from then on")
    .action(async (o) => (await load()).webhookSecret(o, context));
  const token = root.command("token").description("who may use this fabric");
  token
    .command("create")
    .description("make a token; it is shown once")
    .argument("<name>", "what or whom it is for")
    .option("--expires-in <seconds>", "default: never")
    .option("--rate <count/time>", "calls, and inputs of maps, in a time: 100/s, also /m, /h, /d")
    .option("--burst <count>", "of them at once after a quiet time; default: as many as the rate counts")
    .option("--max-queued <count>", "calls, and inputs of maps, that were accepted and have not ended")
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
