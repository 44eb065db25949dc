/** Calls offered to this runner that are not in their queue yet: whoever has a free slot claims them by their record. */
import type { Offer } from "../core/state-store.ts";

export interface Offers {
  add(offer: Offer, now: number): void;
  /** Takes the oldest ones, as many as have room; `roomOf` a version is asked once. Those that nobody took are forgotten. */
  take(room: number, roomOf: (version: string) => number, now: number): Offer[];
  /** Its entry was taken from the queue. */
  forget(id: string): void;
}

/** The longest head start there is (core/outbox.ts): afterwards the queue has them. */
const KEEP_MS = 50;
/** What one function may offer at a time; the queue has the others soon. */
const MAX = 256;

export function createOffers(): Offers {
  /** By id, oldest first. */
  const kept = new Map<string, { offer: Offer; at: number }>();
  const dropOld = (now: number): void => {
    for (const [id, { at }] of kept) {
      if (now - at < KEEP_MS) return;
      kept.delete(id);
    }
  };
  return {
    add(offer, now) {
      dropOld(now);
      if (kept.size < MAX) kept.set(offer.id, { offer, at: now });
    },
    take(room, roomOf, now) {
      dropOld(now);
      const left = new Map<string, number>();
      const taken: Offer[] = [];
      for (const [id, { offer }] of kept) {
        if (taken.length >= room) break;
        const open = left.get(offer.version) ?? roomOf(offer.version);
        left.set(offer.version, open - 1);
        if (open <= 0) continue;
        taken.push(offer);
        kept.delete(id);
      }
      return taken;
    },
    forget: (id) => void kept.delete(id),
  };
}
