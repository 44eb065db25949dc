/** Booking room in the ledger, also when its answer gets lost. */
import { expect, it } from "vitest";
import type { Booking, CapacityLedger, CapacityRequest } from "../../../core/capacity-ledger.ts";
import { systemClock } from "../../../core/clock.ts";
import { FabricError } from "../../../core/errors.ts";
import { createLog } from "../../../core/log.ts";
import type { FunctionSpec, VersionManifest } from "../../../core/spec.ts";
import { createRoom } from "../../../runner/room.ts";

const fn = { name: "f", cpu: 1, memory: 128, gpu: null, max_containers: 1 } as FunctionSpec;
const manifest = { app: "a", version: "1" } as VersionManifest;

it("asks again for the same containers when it does not learn whether they are booked", async () => {
  const booked = new Map<string, Booking>();
  let lost = 1;
  const capacity = {
    async book(requests: CapacityRequest[]) {
      for (const { container, key, cpuMillis, memoryBytes } of requests) {
        if (booked.size === 1 && !booked.has(container)) return { refused: "all 1 containers of a/f are busy" };
        booked.set(container, { container, node: "nod_1", key, cpuMillis, memoryBytes, gpus: ["GPU-0"] });
      }
      if (lost-- > 0) throw new FabricError("redis_unavailable", "the connection was cut");
      return requests.map(({ container }) => booked.get(container)!);
    },
  } as unknown as CapacityLedger;
  const room = createRoom({
    ...{ clock: systemClock, capacity, node: "nod_1", log: createLog("runner", "silent"), maxBoots: 1 },
    lend: async () => false,
    containers: () => [],
    onFree() {},
    makeFarRoom: async () => false,
    silent: () => [],
    lackingElsewhere: async () => new Map(),
    turns: { mustWait: () => undefined, refused() {}, served() {}, ended() {} },
  });
  expect(await room.book(["con_1"], fn, manifest)).toEqual({ places: [{ id: "con_1", at: "nod_1", gpus: ["GPU-0"] }] });
  expect([...booked.keys()]).toEqual(["con_1"]);
});

it("leaves it to the earmark what this node has to give for a gang that several lack room for", async () => {
  const told: string[] = [];
  const refusals = ["no cpu: 1 asked, 0 free on nod_1", "no cpu: 3 asked, 2 free on 3 nodes"];
  const capacity = { book: async () => ({ refused: refusals[0]! }) } as unknown as CapacityLedger;
  const room = createRoom({
    ...{ clock: systemClock, capacity, node: "nod_1", log: createLog("runner", "silent"), maxBoots: 1 },
    lend: async () => false,
    containers: () => [],
    onFree() {},
    makeFarRoom: async () => false,
    silent: () => [],
    lackingElsewhere: async () => new Map(),
    turns: { mustWait: () => undefined, refused: (_key, why) => void told.push(why), served() {}, ended() {} },
  });
  for (const refused of [...refusals]) {
    expect(await room.book(["con_1"], fn, manifest)).toEqual({ refused });
    refusals.shift();
  }
  expect(told).toEqual(["no cpu: 1 asked, 0 free on nod_1"]);
});
