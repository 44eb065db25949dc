/** Which waits can only wait for themselves. */
import { describe, expect, it } from "vitest";
import { deadlocked, type Needs, type WaitGraph } from "../../../core/deadlock.ts";

const MIB = 2 ** 20;
const needs = (memory: number, gpu?: Needs["gpu"]): Needs => ({ memoryBytes: memory * MIB, gpu });
const node = (memory: number, id = "n1", gpus: string[] = []) => ({
  id,
  memoryBytes: memory * MIB,
  gpus: gpus.map((uuid) => ({ uuid, model: "NVIDIA A100", memoryBytes: 1 })),
});
let made = 0;
const booking = (memory: number, waits?: string[], more: { node?: string; gpus?: string[] } = {}) => ({
  ...{ container: `con_${made++}`, memoryBytes: memory * MIB, gpus: more.gpus ?? [], node: more.node ?? "n1" },
  ...(waits ? { waits } : {}),
});
const graph = (
  nodes: WaitGraph["nodes"],
  bookings: WaitGraph["bookings"],
  calls: Record<string, Needs | "running">,
): WaitGraph => ({ nodes, bookings, calls: new Map(Object.entries(calls)) });

describe("deadlocked", () => {
  it("finds a call whose callers hold all memory", () => {
    const chain = [booking(512, ["a b"]), booking(512, ["b c"])];
    expect(deadlocked(graph([node(1024)], chain, { b: "running", c: needs(512) }))).toEqual(["c"]);
    expect(deadlocked(graph([node(1536)], chain, { b: "running", c: needs(512) }))).toEqual([]);
    expect(deadlocked(graph([node(1024), node(512, "n2")], chain, { b: "running", c: needs(512) }))).toEqual([]);
  });

  it("counts on everything that does not wait to end", () => {
    const half = [booking(512, ["a b"]), booking(512)];
    expect(deadlocked(graph([node(1024)], half, { b: needs(512) }))).toEqual([]);
  });

  it("finds families and strangers that block each other", () => {
    const two = [booking(512, ["a x"]), booking(512, ["b y"])];
    expect(deadlocked(graph([node(1024)], two, { x: needs(512), y: needs(512) }))).toEqual(["x", "y"]);
    expect(deadlocked(graph([node(1024)], two, { x: needs(512) }))).toEqual([]);
  });

  it("lets go of those whose calls run or have ended, and of what waits for them", () => {
    const waits = [booking(512, ["a b"]), booking(512, ["b gone"]), booking(512, ["c d"])];
    expect(deadlocked(graph([node(1536)], waits, { b: "running", d: needs(512) }))).toEqual([]);
  });

  it("tells attempts in one container apart, and holds the container while one of them is stuck", () => {
    const shared = [booking(512, ["a x", "b y"]), booking(512, ["v b"])];
    expect(deadlocked(graph([node(1024)], shared, { x: needs(512), y: "running", b: "running" }))).toEqual([]);
    const held = [booking(512, ["a x", "b y"]), booking(512, ["y z"])];
    expect(deadlocked(graph([node(1024)], held, { x: needs(512), y: "running", z: needs(512) }))).toEqual(["x", "z"]);
  });

  it("knows waits that end by themselves", () => {
    expect(deadlocked(graph([node(512)], [booking(512, ["a"])], { x: needs(512) }))).toEqual([]);
  });

  it("holds a map while one of its slices is stuck", () => {
    const nested = [booking(512, ["a map"]), booking(512, ["map.2 x"])];
    expect(deadlocked(graph([node(1024)], nested, { map: "running", x: needs(512) }))).toEqual(["x"]);
  });

  it("knows calls that wait for a key which only their callers hold", () => {
    const chain = [booking(512, ["a b"]), booking(512, ["b c"])];
    const parked = (...holders: string[]): Needs => ({ ...needs(1), holders });
    expect(deadlocked(graph([node(9_999)], chain, { b: "running", c: parked("a") }))).toEqual(["c"]);
    expect(deadlocked(graph([node(9_999)], chain, { b: "running", c: parked("a", "stranger") }))).toEqual([]);
  });

  it("counts GPUs by model", () => {
    const bookings = [booking(1, ["a x"], { gpus: ["g1"] })];
    const asks = { x: needs(1, { model: "a100", count: 1 }) };
    expect(deadlocked(graph([node(100, "n1", ["g1"])], bookings, asks))).toEqual(["x"]);
    expect(deadlocked(graph([node(100, "n1", ["g1", "g2"])], bookings, asks))).toEqual([]);
    const other = { x: needs(1, { model: "H100", count: 1 }) };
    expect(deadlocked(graph([node(100, "n1", ["g1", "g2"])], bookings, other))).toEqual(["x"]);
  });
});
