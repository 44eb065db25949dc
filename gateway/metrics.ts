/** What Prometheus may ask the gateway: counts kept here, and live values looked up when asked. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Queue } from "../core/queue.ts";
import type { StateStore } from "../core/state-store.ts";
import { specName } from "../core/variant.ts";

export interface Metrics {
  readonly contentType: string;
  replied(status: number): void;
  accepted(): void;
  /** A caller was answered with the outcome of its call. */
  answered(seconds: number): void;
  deployed(unchanged: boolean): void;
  repaired(count: number): void;
  text(): Promise<string>;
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export function createMetrics({ state, queue }: { state: StateStore; queue: Queue }): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const replies = new Counter({
    name: "fabric_http_replies_total",
    help: "HTTP replies by status",
    labelNames: ["status"],
    registers,
  });
  const accepted = new Counter({ name: "fabric_invocations_accepted_total", help: "Invocations accepted", registers });
  const answered = new Histogram({
    name: "fabric_call_seconds",
    help: "From the arrival of a call to the reply with its outcome",
    buckets: SECONDS,
    registers,
  });
  const deployments = new Counter({
    name: "fabric_deployments_total",
    help: "Deployments that ended well",
    labelNames: ["unchanged"],
    registers,
  });
  const repairs = new Counter({ name: "fabric_sweep_repairs_total", help: "Repairs made by the sweep", registers });
  addLive(registry, { state, queue });
  const byStatus = new Map<number, { inc(): void }>();

  return {
    contentType: registry.contentType,
    replied(status) {
      const counter = byStatus.get(status) ?? replies.labels(String(status));
      byStatus.set(status, counter);
      counter.inc();
    },
    accepted: () => accepted.inc(),
    answered: (seconds) => answered.observe(seconds),
    deployed: (unchanged) => deployments.inc({ unchanged: String(unchanged) }),
    repaired: (count) => repairs.inc(count),
    text: () => registry.metrics(),
  };
}

/** Looked up at each scrape; a scrape without Redis fails as a whole, which is what an alert should see. */
function addLive(registry: Registry, { state, queue }: { state: StateStore; queue: Queue }): void {
  const registers = [registry];
  new Gauge({
    name: "fabric_queue_depth",
    help: "Entries waiting, by function",
    labelNames: ["function"],
    registers,
    async collect() {
      this.reset();
      for (const key of await state.hints.functionsWithWork())
        this.inc({ function: specName(key) }, await queue.depth(key));
    },
  });
  new Gauge({
    name: "fabric_nodes",
    help: "Nodes with a live runner",
    registers,
    async collect() {
      this.set((await state.capacity.nodes()).length);
    },
  });
  new Gauge({
    name: "fabric_redis_memory_ratio",
    help: "Used part of Redis' maxmemory",
    registers,
    async collect() {
      this.set(await state.memoryUse());
    },
  });
}
