/** Which idle containers of several nodes give way to a gang. */
import { expect, test } from "vitest";
import type { Booking, NodeFacts } from "../../../core/capacity-ledger.ts";
import { canMeet } from "../../../core/places.ts";
import { lackHere } from "../../../runner/earmark.ts";
import { enough } from "../../../runner/far-room.ts";

const node = (id: string, facts: Partial<NodeFacts> = {}) =>
  ({ id, engine: "process", cpuMillis: 4_000, memoryBytes: 1_000, gpus: [], meets: ["m"], ...facts }) as NodeFacts;
const booked = (container: string, cpuMillis: number, gpus: string[] = []) =>
  ({ container, cpuMillis, memoryBytes: 1, gpus }) as unknown as Booking;
const idle = (container: string, idleMs: number, also: string[] = []) => ({
  ...{ container, booked: [container, ...also], idleMs },
});
const wish = { cpuMillis: 1_000, memoryBytes: 100 };

test("the longest idle ones go, and only those that help", () => {
  const nodes = [node("nod_a"), node("nod_b")];
  const bookings = [[booked("busy", 2_000), booked("new", 1_000), booked("small", 100)], [booked("old", 3_000)]];
  const all = [idle("new", 10), idle("small", 30), idle("old", 20)];
  const names = (count: number) => enough(nodes, bookings, all, wish, count)?.map((one) => one.container);
  expect(names(1)).toEqual([]);
  expect(names(4)).toEqual(["old"]);
  expect(names(6)).toEqual(["small", "old", "new"]);
  expect(names(7)).toBeUndefined();
});

test("a gang that is idle goes on all its nodes, and gives its GPUs back", () => {
  const gpus = ["GPU-1", "GPU-2"].map((uuid) => ({ uuid, model: "NVIDIA A100", memoryBytes: 1 }));
  const nodes = [node("nod_a", { gpus }), node("nod_b", { gpus })];
  const bookings = [[booked("first", 1, ["GPU-1", "GPU-2"])], [booked("second", 1, ["GPU-1"])]];
  const gpu = { model: "a100", count: 2 };
  const victims = enough(nodes, bookings, [idle("first", 1, ["second"])], { ...wish, gpu }, 2);
  expect(victims?.map((one) => one.container)).toEqual(["first"]);
});

test.each([
  [node("a"), node("b"), true],
  [node("a"), node("b", { meets: ["other"] }), false],
  [node("a"), node("b", { engine: "docker" }), false],
  [node("a", { meets: undefined }), node("b"), false],
])("nodes of one engine with something in common can meet", (one, other, can) => expect(canMeet(one, other)).toBe(can));

test("a node says what it lacks of what it keeps for a gang, as the ledger would", () => {
  const mark = { key: "a/gang" as const, cpuMillis: 1_000, memoryBytes: 2 ** 20, quota: { nod_a: 2 } };
  const memoryBytes = 3 * 2 ** 20;
  const here = node("nod_a", { memoryBytes, gpus: [{ uuid: "GPU-1", model: "NVIDIA A100", memoryBytes: 1 }] });
  expect(lackHere(mark, here, [booked("x", 2_000)])).toBeUndefined();
  expect(lackHere(mark, here, [booked("x", 2_500)])).toBe("no cpu: 2 asked, 1.5 free on nod_a");
  expect(lackHere(mark, here, [{ ...booked("x", 1), memoryBytes: 2 ** 21 }])).toBe(
    "no memory: 2 MiB asked, 1 MiB free on nod_a",
  );
  const holder = { ...booked("x", 1, ["GPU-1"]), key: "a/f" as const };
  expect(lackHere({ ...mark, gpu: { model: "a100", count: 1 } }, here, [holder])).toBe(
    "no a100 free: 2 asked, 0 free on nod_a, held by a/f",
  );
});
