/** Asks a gateway, until it says yes, whether it is ready and has a node that can run something. */
import { setTimeout as wait } from "node:timers/promises";
import { LocalFailure } from "./failure.ts";

export async function serving(url: string, token: string, signal: AbortSignal): Promise<void> {
  let missing = "no answer yet";
  while (!signal.aborted) {
    const outcome = await look(url, token);
    if (outcome === "serving") return;
    missing = outcome;
    await wait(50);
  }
  throw new LocalFailure(`the gateway at ${url} is not serving: ${missing}`);
}

async function look(url: string, token: string): Promise<string> {
  try {
    const ready = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) });
    if (!ready.ok) return `/readyz answers ${ready.status}: ${(await ready.text()).slice(0, 300)}`;
    const nodes = await fetch(`${url}/v1/nodes`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(2000),
    });
    if (!nodes.ok) return `/v1/nodes answers ${nodes.status}: ${(await nodes.text()).slice(0, 300)}`;
    return listed(await nodes.json()) > 0 ? "serving" : "no node has announced itself";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const listed = (body: unknown): number => {
  const nodes = body !== null && typeof body === "object" && "nodes" in body ? body.nodes : body;
  return Array.isArray(nodes) ? nodes.length : 0;
};
