/** Routes that show where functions run. */
import { defineRoute, type GatewayApp } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";

export function nodeRoutes(app: GatewayApp, { state }: GatewayDeps): void {
  const tag = "nodes";
  const booked = async () => {
    const nodes = await state.capacity.nodes();
    return Promise.all(nodes.map(async (node) => ({ node, bookings: await state.capacity.bookings(node.id) })));
  };
  defineRoute(
    app,
    { method: "get", path: "/v1/nodes", tag, summary: "Nodes and what of them is booked" },
    async (context) => {
      const nodes = (await booked()).map(({ node, bookings }) => ({
        ...node,
        startedAt: new Date(node.startedAt).toISOString(),
        booked: {
          containers: bookings.length,
          cpuMillis: bookings.reduce((sum, { cpuMillis }) => sum + cpuMillis, 0),
          memoryBytes: bookings.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
          gpus: bookings.flatMap(({ gpus }) => gpus),
        },
      }));
      return context.json({ nodes });
    },
  );
  defineRoute(
    app,
    { method: "get", path: "/v1/containers", tag, summary: "Containers on all nodes" },
    async (context) => {
      const containers = (await booked()).flatMap(({ node, bookings }) =>
        bookings.map(({ key, ...booking }) => ({ ...booking, function: key, node: node.id })),
      );
      return context.json({ containers });
    },
  );
}
