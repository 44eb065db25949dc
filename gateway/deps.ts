/** What the gateway is given: every use case takes the part of this it needs, and only main.ts and tests make one. */

import type { Catalog } from "../core/catalog.ts";
import type { Clock } from "../core/clock.ts";
import type { ImageBuilder } from "../core/image-builder.ts";
import type { ImageShelf } from "../core/image-store.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Outbox } from "../core/outbox.ts";
import type { Outcomes } from "../core/outcomes.ts";
import type { Queue } from "../core/queue.ts";
import type { Registry } from "../core/registry.ts";
import type { StateStore } from "../core/state-store.ts";
import type { UploadStore } from "../core/upload-store.ts";
import type { Metrics } from "./metrics.ts";
import type { QueueLimits } from "./queue-limits.ts";
import type { Waits } from "./waits.ts";
import type { WebhookSecret } from "./webhooks/secret.ts";

export interface GatewayLimits {
  /** Of a call's body. */
  bodyBytes: number;
  /** Of a source archive, packed and unpacked. */
  sourceBytes: number;
}

export interface GatewayDeps {
  state: StateStore;
  queue: Queue;
  outbox: Outbox;
  objects: ObjectStore;
  uploads: UploadStore;
  registry: Registry;
  builder: ImageBuilder;
  /** Of the gateway's own node. */
  shelf: ImageShelf;
  catalog: Catalog;
  outcomes: Outcomes;
  metrics: Metrics;
  waits: Waits;
  queueLimits: QueueLimits;
  clock: Clock;
  log: Log;
  webhookSecret: WebhookSecret;
  /** May do everything and never expires; empty: there is none. */
  adminToken: string;
  limits: GatewayLimits;
  /** Where uploads wait until they are checked. */
  tempDir: string;
  /** Prefix of the URLs that replies name; empty: the request's own origin. */
  publicUrl: string;
}
