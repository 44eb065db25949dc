/** Nodes that lack a gang's image are left out of it until they have it. */
import { expect, it } from "vitest";
import type { Booking, CapacityRequest, NodeFacts } from "../../../core/capacity-ledger.ts";
import { manualClock } from "../../../core/clock.ts";
import { createFarImages, type FarImages } from "../../../runner/far-images.ts";
import type { Link, Session, SessionEvents } from "../../../runner/link.ts";

const REF = `sha256:${"1".repeat(64)}`;
const request = { cpuMillis: 1_000, memoryBytes: 1 } as CapacityRequest;
const nodes = ["nod_1", "nod_2", "nod_3"].map(
  (id) =>
    ({ id, engine: "docker", meets: ["net"], cpuMillis: 2_000, memoryBytes: 10, gpus: [] }) as unknown as NodeFacts,
);

function fleet() {
  const clock = manualClock();
  const bookings: Booking[] = [];
  const answering: Record<string, FarImages> = {};
  const asked: string[] = [];
  /** What each node says it lacks. */
  const lack: Record<string, string | undefined> = {};
  const lost: string[] = [];
  const link: Pick<Link, "open"> = {
    open(peer, gang, events: SessionEvents): Session {
      asked.push(peer);
      const back: Session = {
        gang,
        peer: "nod_1",
        send: (said) => events.onMessage(said, Buffer.alloc(0)),
        close() {},
      };
      const there = answering[peer]?.answer(back);
      return { gang, peer, send: (said) => there?.onMessage(said, Buffer.alloc(0)), close() {} };
    },
  };
  const capacity = { nodes: async () => nodes, bookings: async () => bookings };
  const of = (node: string): FarImages =>
    createFarImages({
      ...{ link, capacity, node, clock },
      images: { lacking: async () => lack[node], lost: () => void lost.push(node) },
    });
  answering.nod_2 = of("nod_2");
  return { clock, bookings, asked, lack, lost, answering, lead: of("nod_1"), of };
}

it("asks others only where it has no room for all, and those that have the image only once", async () => {
  const { lead, asked, lack, answering, of, lost } = fleet();
  answering.nod_3 = of("nod_3");
  lack.nod_3 = "fetching the image, 1 of 2 MB";
  expect([...(await lead.lacking(request, 2, REF)).keys()]).toEqual(["nod_2", "nod_3"]);
  expect(asked).toEqual([]);
  expect(await lead.lacking(request, 3, REF)).toEqual(new Map([["nod_3", lack.nod_3]]));
  lack.nod_3 = undefined;
  expect(await lead.lacking(request, 3, REF)).toEqual(new Map());
  expect(await lead.lacking(request, 3, REF)).toEqual(new Map());
  expect(asked).toEqual(["nod_2", "nod_3", "nod_3"]);
  // One that had it did not find it: nobody takes it for granted any more.
  lead.lost(REF);
  expect(await lead.lacking(request, 3, REF)).toEqual(new Map());
  expect(lost).toEqual(["nod_1", "nod_2", "nod_3"]);
});

it("leaves out who does not answer", async () => {
  const { lead, clock } = fleet();
  const found = lead.lacking(request, 3, REF);
  for (let turns = 0; turns < 20; turns++) await Promise.resolve();
  clock.advance(2_000);
  expect(await found).toEqual(new Map([["nod_3", "its runner has not answered yet"]]));
});
