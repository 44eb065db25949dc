/** What the supervisor tells the `fabric up` that started it. */
import type { Facts } from "./running.ts";

export type Report =
  | { kind: "step"; text: string }
  | { kind: "ready"; facts: Facts }
  | { kind: "failed"; message: string; hint?: string };
