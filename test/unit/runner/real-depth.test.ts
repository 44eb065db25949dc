/** What another container would be started for: nothing twice, and no entry whose call runs already. */
import { describe, expect, it } from "vitest";
import type { Attempt } from "../../../core/state-store.ts";
import { realDepth } from "../../../runner/real-depth.ts";

const call = (id: string): Attempt => ({ id, generation: 1 });

function queueOf(entries: Attempt[]) {
  let reached = (): void => {};
  const queue = {
    asked: 0,
    async depth() {
      const depth = entries.length;
      reached();
      return depth;
    },
    async has(_key: string, { id }: Attempt) {
      queue.asked++;
      return entries.some((one) => one.id === id);
    },
  };
  return { queue, onDepth: (act: () => void) => (reached = act) };
}

describe("the depth of a queue", () => {
  it("leaves out what was taken while it was read", async () => {
    const { queue, onDepth } = queueOf([call("a"), call("b")]);
    const depth = realDepth(queue, "a/f");
    onDepth(() => depth.tookEntry());
    const left = await depth.read();
    expect(left()).toBe(1);
    depth.tookEntry();
    expect(left()).toBe(0);
    depth.tookEntry();
    expect(left()).toBe(0);
  });

  it("leaves out entries of calls that were claimed before they were queued, also after those have ended", async () => {
    const entries = [call("a"), call("b")];
    const { queue } = queueOf(entries);
    const depth = realDepth(queue, "a/f");
    const a = call("a");
    depth.tookOffer(a);
    expect((await depth.read())()).toBe(1);
    depth.ended(a);
    expect((await depth.read())()).toBe(1);
    // Once the stale entry is gone, nothing is asked for it any more.
    entries.shift();
    expect((await depth.read())()).toBe(1);
    const { asked } = queue;
    await depth.read();
    expect(queue.asked).toBe(asked);
  });

  it("looks at none where many such calls run", async () => {
    const { queue } = queueOf([call("a")]);
    const depth = realDepth(queue, "a/f");
    for (const id of ["a", "b", "c", "d", "e"]) depth.tookOffer(call(id));
    expect((await depth.read())()).toBe(1);
    expect(queue.asked).toBe(0);
  });
});
