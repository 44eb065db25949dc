/** Who gives room to whom. */
import { describe, expect, it } from "vitest";
import type { FunctionKey } from "../../../core/invocation.ts";
import { type Asker, type Candidate, giver, goesFirst, lacking } from "../../../runner/fair-share.ts";

const asker = (more: Partial<Asker> = {}): Asker => ({ key: "x/new", held: 0, wanted: 1, since: 0, ...more });
const one = (id: string, key: FunctionKey, more: Partial<Candidate> = {}): Candidate => ({
  ...{ id, key, amount: 1, busy: 1, servesMs: 10_000, bootMs: 100 },
  ...more,
});
const held = (all: Candidate[]): Map<FunctionKey, number> => {
  const sums = new Map<FunctionKey, number>();
  for (const { key, amount } of all) sums.set(key, (sums.get(key) ?? 0) + amount);
  return sums;
};
const given = (from: Asker, all: Candidate[]): string | undefined => giver(from, held(all), all)?.id;
const some = (count: number, key: FunctionKey): Candidate[] =>
  Array.from({ length: count }, (_, i) => one(`${key}${i}`, key));

describe("a container makes room", () => {
  it("of the function that holds most", () => {
    expect(given(asker(), [...some(1, "x/b"), ...some(3, "x/a")])).toBe("x/a0");
  });
  it("until both hold the same", () => {
    expect(given(asker({ held: 1 }), some(3, "x/a"))).toBe("x/a0");
    expect(given(asker({ held: 2 }), some(3, "x/a"))).toBeUndefined();
    expect(given(asker({ held: 1 }), some(2, "x/a"))).toBeUndefined();
  });
  it("the last one, too, for who has none", () => {
    expect(given(asker(), some(1, "x/a"))).toBe("x/a0");
    expect(given(asker({ held: 1 }), some(1, "x/a"))).toBeUndefined();
  });
  it("none of its own", () => {
    expect(given(asker({ key: "x/a" }), some(3, "x/a"))).toBeUndefined();
  });
  it("which interrupts least: least busy, then longest served", () => {
    expect(given(asker(), [one("1", "x/a", { busy: 3 }), one("2", "x/a"), one("3", "x/a", { servesMs: 20_000 })])).toBe(
      "3",
    );
  });
  it("not before it has served its turn, or as long as its start took", () => {
    expect(given(asker(), [one("1", "x/a", { servesMs: 1_999 })])).toBeUndefined();
    expect(given(asker(), [one("1", "x/a", { servesMs: 9_000, bootMs: 60_000 })])).toBeUndefined();
  });
  it("by amount of what is missing", () => {
    expect(given(asker({ held: 1, wanted: 4 }), [one("1", "x/a", { amount: 8 }), ...some(2, "x/b")])).toBeUndefined();
    expect(given(asker({ held: 1, wanted: 4 }), some(6, "x/a"))).toBe("x/a0");
  });
});

describe("what is free is left to", () => {
  const waits = (more: Partial<Asker>): Asker => asker({ key: "x/other", ...more });
  it.each([
    ["who holds less", { held: 2 }, { held: 1 }, true],
    ["nobody who holds more", { held: 1 }, { held: 2 }, false],
    ["who waits longer with as much", { since: 500 }, { since: 100 }, true],
    ["nobody who waits shorter with as much", { since: 100 }, { since: 500 }, false],
    ["nobody who has only just been refused", { held: 2 }, { held: 0, since: 9_900 }, false],
  ])("%s", (_name, self, other, yields) => {
    expect(goesFirst(asker(self), [waits(other)], 10_000) !== undefined).toBe(yields);
  });
  it("one at least: two do not wait for each other", () => {
    const [a, b] = [asker({ key: "x/a", since: 1 }), asker({ key: "x/b", since: 1.5 })];
    expect([goesFirst(a, [b], 10_000), goesFirst(b, [a], 10_000)]).toEqual([undefined, a]);
  });
});

it.each([
  ["no cpu: 1 asked, 0.5 free on nod_x", { what: "cpu", wanted: 1, free: 0.5 }],
  ["no cpu: 1 asked, -0.5 free on nod_x", { what: "cpu", wanted: 1, free: -0.5 }],
  ["no memory: 512 MiB asked, 100 MiB free on nod_x", { what: "memory", wanted: 512, free: 100 }],
  ["no A100 free: 2 asked, 1 free on nod_x, 2 held by bert/train", { what: "gpu", wanted: 2, free: 1 }],
  ["all 10 containers of x/a are busy (max_containers)", undefined],
  ["node nod_x is not there", undefined],
])("%s", (refused, told) => expect(lacking(refused)).toEqual(told));
