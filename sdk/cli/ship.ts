/** The way from an app file to a version: describe, pack, upload if missing, deploy, with the build log as it comes. */
import type { Deployment } from "../../core/spec.ts";
import type { Client, DeployEvent } from "../typescript/client.ts";
import { fromBody } from "../typescript/http.ts";
import type { Context } from "./context.ts";
import { type Description, describe } from "./describe.ts";
import { pack } from "./pack.ts";
import { bytes } from "./table.ts";
import type { Terminal } from "./terminal.ts";

export type Deployed = Extract<DeployEvent, { type: "deployed" }>;
export interface Prepared {
  description: Description;
  deployment: Deployment;
}

/** Describes and uploads; the deployment itself is the caller's, who decides how long it lives. */
export async function prepare(path: string, name: string | undefined, context: Context): Promise<Prepared> {
  const { terminal } = context;
  terminal.status(`reading ${path}`);
  const client = context.client();
  const description = await describe(path, { ...context, client: () => client });
  const pickles = new Map(
    Object.entries(description.pickles).map(([file, text]) => [file, Buffer.from(text, "base64")] as const),
  );
  const bundle = await pack(description.root, pickles);
  try {
    if (!(await client.hasSource(bundle.sha256))) {
      step(terminal, `uploading ${bundle.files} files, ${bytes(bundle.size)}`);
      await client.putSource(bundle.sha256, bundle.open(), context.signal);
    }
    const { images, functions } = description;
    return { description, deployment: { app: name ?? description.app, source: bundle.sha256, images, functions } };
  } finally {
    await bundle.discard();
  }
}

/** Shows the build as it goes; answers with the version or throws what the gateway says. */
export async function awaitDeployed(events: AsyncIterable<DeployEvent>, terminal: Terminal): Promise<Deployed> {
  for await (const event of events) {
    if (event.type === "deployed") {
      terminal.status(undefined);
      return event;
    }
    if (event.type === "error") throw fromBody(event.error);
    if (event.type === "step") step(terminal, event.text);
    else terminal.note(terminal.paint.dim(`  ${event.text.trimEnd()}`));
  }
  throw new Error("the gateway ended the deployment without an answer; its log may say why");
}

export function deployPrepared(client: Client, { deployment }: Prepared, context: Context): Promise<Deployed> {
  return awaitDeployed(client.deploy(deployment, { signal: context.signal }), context.terminal);
}

function step(terminal: Terminal, text: string): void {
  terminal.note(`${terminal.paint.bold("==>")} ${text}`);
  terminal.status(text);
}
