/** A node that lacks an image: calls wait, nothing is booked for them, and they run as soon as it is there. */
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { imageIndexKey } from "../../../core/image-index.ts";
import { until } from "../../support/redis.ts";
import { startTestRunner } from "./fixture.ts";

const REF = `sha256:${"a".repeat(64)}`;
let isThere = false;
let loads = 0;
let t: Awaited<ReturnType<typeof startTestRunner>>;
beforeAll(async () => {
  const store = {
    find: async () => (isThere ? { bytes: 1 } : undefined),
    layers: async () => [],
    async load(tar: NodeJS.ReadableStream) {
      loads++;
      expect(await text(tar)).toContain("what an engine writes");
      isThere = true;
    },
    save: () => Promise.reject(new Error("a runner saves nothing")),
  };
  t = await startTestRunner(
    "def one(): return 1\ndef two(): return 2",
    { one: {}, two: {} },
    { image: { ref: REF, store } },
  );
});
afterAll(() => t.close());

it("fetches it first, once for all that wait, and says so meanwhile", async () => {
  const node = "nod_t";
  const missing = async (fn: string) => (await t.state.loads.read([`run-${node}`]))[0]?.[`t/${fn}`]?.missing;
  const ids = await Promise.all([t.call("one"), t.call("two")]);
  const asks = "fetching the image: no gateway gives it so far";
  await until(async () => (await missing("one")) === asks && (await missing("two")) === asks, 15_000, "both wait");
  expect(await t.state.capacity.bookings(node)).toEqual([]);
  for (const id of ids) expect(await t.state.invocations.get(id)).toMatchObject({ state: "queued", attempts: 0 });

  const content = Buffer.from("what an engine writes").toString("base64");
  const members = [{ name: "manifest.json.part", type: "file", mode: 0o644, size: 21, content }];
  await t.objects.put(imageIndexKey(REF), JSON.stringify({ image: REF, members }));
  for (const id of ids) expect(await t.ended(id)).toMatchObject({ state: "succeeded", attempts: 1, platformFaults: 0 });
  expect(loads).toBe(1);
});
