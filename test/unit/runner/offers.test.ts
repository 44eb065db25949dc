/** Which offered calls a runner claims: the oldest, of versions with room, before the queue has them. */
import { expect, it } from "vitest";
import { createOffers } from "../../../runner/offers.ts";

const offer = (id: string, version = "1") => ({ key: "a/f" as const, id, generation: 1, version });
const ids = (offers: { id: string }[]) => offers.map(({ id }) => id);

it("takes the oldest first, as many as have room, and keeps the others", () => {
  const offers = createOffers();
  for (const id of ["1", "2", "3", "4"]) offers.add(offer(id), 0);
  expect(ids(offers.take(2, () => 9, 1))).toEqual(["1", "2"]);
  expect(ids(offers.take(9, () => 1, 1))).toEqual(["3"]);
  expect(ids(offers.take(0, () => 9, 1))).toEqual([]);
  expect(ids(offers.take(9, () => 9, 1))).toEqual(["4"]);
});

it("asks each version for its own room", () => {
  const offers = createOffers();
  for (const [id, version] of ["11", "22", "31", "42"]) offers.add(offer(id!, version), 0);
  expect(ids(offers.take(9, (version) => (version === "1" ? 0 : 1), 1))).toEqual(["2"]);
});

it("forgets what the queue has by now, and does not grow without end", () => {
  const offers = createOffers();
  offers.add(offer("1"), 0);
  offers.add(offer("2"), 40);
  offers.add(offer("3"), 40);
  offers.forget("3");
  expect(ids(offers.take(9, () => 9, 60))).toEqual(["2"]);
  for (let i = 0; i < 1_000; i++) offers.add(offer(`${i}`), 100);
  expect(offers.take(1_000, () => 1_000, 101).length).toBeLessThan(300);
});
