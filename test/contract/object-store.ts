/** The promises of the ObjectStore seam as tests, run against every store there is. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ListEntry, ObjectStore } from "../../core/object-store.ts";

export interface StoreUnderTest {
  store: ObjectStore;
  close(): Promise<void>;
}

/** What a store is known not to do, with the reason; the case is then a named skip. */
export type Gap = "etag of copies" | "strange names" | "conditional races" | "byte order" | "signatures";

const STRANGE = [
  "d/x",
  "d/x/y",
  "a//b",
  "./x",
  "x/./y",
  "ünï/çödé",
  "a%2Fb",
  "a b+c&d=e?f#g",
  "'quo\"te<>",
  "日本/語🎉",
  "trailing/",
  "n".repeat(1024),
];
const MIB = 1024 * 1024;
/** Of the stores under test: what one copy takes, and a part of a larger one. */
export const COPIED_AT_ONCE = 6 * MIB;
export const COPY_PART = 5 * MIB;

export function objectStoreContract(
  name: string,
  open: () => Promise<StoreUnderTest>,
  gaps: Partial<Record<Gap, string>> = {},
): void {
  const unless = (gap: Gap) => (gaps[gap] === undefined ? it : it.skip);
  const label = (gap: Gap, title: string) => (gaps[gap] === undefined ? title : `${title} (${gaps[gap]})`);

  describe(`object store: ${name}`, () => {
    let under: StoreUnderTest;
    let store: ObjectStore;
    const root = `contract-${randomBytes(4).toString("hex")}/`;
    const key = (tail: string) => root + tail;
    const read = async (at: string) => {
      const found = await store.get(at);
      return found && buffer(found.body);
    };
    const listed = async (prefix: string, options?: Parameters<ObjectStore["list"]>[1]) => {
      const entries: ListEntry[] = [];
      for await (const entry of store.list(prefix, options)) entries.push(entry);
      return entries.map((entry) => (entry.kind === "object" ? entry.key : `${entry.prefix} …`));
    };

    beforeAll(async () => {
      under = await open();
      store = under.store;
      await store.ensureBucket();
    });
    afterAll(() => under?.close());

    it("answers a ping, and makes its bucket any number of times", async () => {
      await Promise.all([store.ensureBucket(), store.ensureBucket()]);
      await store.ping();
    });

    it("gives back what was put: bytes, size, type, etag, time", async () => {
      const bytes = randomBytes(100_000);
      const put = await store.put(key("plain"), bytes, { contentType: "application/x-thing" });
      const found = await store.get(key("plain"));
      expect(await buffer(found!.body)).toEqual(bytes);
      expect(found).toMatchObject({ size: 100_000, length: 100_000, contentType: "application/x-thing" });
      expect(put).toEqual({ created: true, etag: found!.etag });
      const { etag, modifiedMs } = (await store.head(key("plain")))!;
      expect(etag).toBe(found!.etag);
      expect(Math.abs(Date.now() - modifiedMs)).toBeLessThan(60_000);
    });

    it("stores nothing at all as an object of no bytes", async () => {
      await store.put(key("empty"), "");
      expect(await store.head(key("empty"))).toMatchObject({ size: 0 });
      expect(await read(key("empty"))).toHaveLength(0);
    });

    it("answers undefined for what is not there, and deleting it succeeds", async () => {
      expect(await store.get(key("nothing"))).toBeUndefined();
      expect(await store.head(key("nothing"))).toBeUndefined();
      expect(await store.copy(key("nothing"), key("other"))).toBeUndefined();
      await store.delete(key("nothing"));
    });

    it("replaces, and forgets what was deleted", async () => {
      await store.put(key("twice"), "old");
      await store.put(key("twice"), "new");
      expect(String(await read(key("twice")))).toBe("new");
      await store.delete(key("twice"));
      expect(await store.get(key("twice"))).toBeUndefined();
    });

    it("puts a stream of known size, and refuses one of another size", async () => {
      const parts = () => Readable.from([Buffer.from("ab"), Buffer.from("cd")]);
      expect(await store.put(key("sized"), parts(), { size: 4 })).toMatchObject({ created: true });
      expect(String(await read(key("sized")))).toBe("abcd");
      for (const size of [3, 5])
        await expect(store.put(key("missized"), parts(), { size })).rejects.toThrow(/bytes announced/);
      for (const size of [3, 5])
        await expect(store.putStream(key("missized"), parts(), { size })).rejects.toThrow(/bytes announced/);
      expect(await store.head(key("missized"))).toBeUndefined();
    });

    it("puts a stream of unknown size in parts", async () => {
      const hash = createHash("sha256");
      async function* generate() {
        for (let i = 0; i < 21; i++) {
          const chunk = randomBytes(MIB);
          hash.update(chunk);
          yield chunk;
        }
      }
      await store.putStream(key("large"), Readable.from(generate(), { objectMode: false }));
      const found = await store.get(key("large"));
      const back = createHash("sha256");
      for await (const chunk of found!.body) back.update(chunk);
      expect(found!.size).toBe(21 * MIB);
      expect(back.digest("hex")).toBe(hash.digest("hex"));
      const across = await store.get(key("large"), { range: { start: 8 * MIB - 3, end: 8 * MIB + 2 } });
      expect(await buffer(across!.body)).toHaveLength(6);
    });

    it("leaves no object behind when a stream breaks or is aborted", async () => {
      async function* breaking() {
        yield randomBytes(9 * MIB);
        throw new Error("the disk went away");
      }
      await expect(store.putStream(key("broken"), Readable.from(breaking(), { objectMode: false }))).rejects.toThrow(
        /disk went away/,
      );
      const stop = new AbortController();
      const endless = new Readable({ read() {} });
      endless.push(randomBytes(9 * MIB));
      const aborted = store.putStream(key("broken"), endless, { signal: stop.signal });
      stop.abort();
      await expect(aborted).rejects.toThrow(/abort/i);
      expect(await store.head(key("broken"))).toBeUndefined();
    });

    it("gives ranges, and says when one starts behind the end", async () => {
      await store.put(key("range"), "0123456789");
      const some = async (range: { start: number; end?: number }) => {
        const found = await store.get(key("range"), { range });
        return [String(await buffer(found!.body)), found!.length, found!.size];
      };
      expect(await some({ start: 2, end: 4 })).toEqual(["234", 3, 10]);
      expect(await some({ start: 7 })).toEqual(["789", 3, 10]);
      expect(await some({ start: 0, end: 99 })).toEqual(["0123456789", 10, 10]);
      await expect(store.get(key("range"), { range: { start: 10 } })).rejects.toMatchObject({ code: "bad_request" });
    });

    it("creates only where nothing is, also from a stream in parts", async () => {
      expect(await store.put(key("once"), "first", { ifNoneMatch: true })).toMatchObject({ created: true });
      expect(await store.put(key("once"), "second", { ifNoneMatch: true })).toEqual({ created: false });
      const large = Readable.from([randomBytes(9 * MIB)], { objectMode: false });
      expect(await store.putStream(key("once"), large, { ifNoneMatch: true })).toEqual({ created: false });
      expect(String(await read(key("once")))).toBe("first");
      await store.delete(key("once"));
      expect(await store.put(key("once"), "third", { ifNoneMatch: true })).toMatchObject({ created: true });
    });

    it("replaces only what the writer has seen", async () => {
      const first = await store.put(key("seen"), "first", { ifNoneMatch: true });
      const etag = first.created ? first.etag : "";
      expect(await store.put(key("seen"), "second", { ifMatch: etag })).toMatchObject({ created: true });
      expect(await store.put(key("seen"), "third", { ifMatch: etag })).toEqual({ created: false });
      expect(String(await read(key("seen")))).toBe("second");
      await store.delete(key("seen"));
      expect(await store.put(key("seen"), "fourth", { ifMatch: etag })).toEqual({ created: false });
      expect(await store.head(key("seen"))).toBeUndefined();
    });

    unless("conditional races")(
      label("conditional races", "lets exactly one of many concurrent creators win"),
      async () => {
        for (let round = 0; round < 5; round++) {
          const at = key(`race-${round}`);
          const writers = Array.from({ length: 20 }, (_, i) => store.put(at, `writer ${i}`, { ifNoneMatch: true }));
          const outcomes = await Promise.all(writers);
          const winners = outcomes.flatMap((outcome, i) => (outcome.created ? [i] : []));
          expect(winners).toHaveLength(1);
          expect(String(await read(at))).toBe(`writer ${winners[0]}`);
        }
        const bodies = Array.from({ length: 4 }, () => randomBytes(9 * MIB));
        const streams = bodies.map((body) => Readable.from([body], { objectMode: false }));
        const completed = await Promise.all(
          streams.map((stream) => store.putStream(key("race-parts"), stream, { ifNoneMatch: true })),
        );
        const winners = completed.flatMap((outcome, i) => (outcome.created ? [i] : []));
        expect(winners).toHaveLength(1);
        expect((await read(key("race-parts")))!.equals(bodies[winners[0]!]!)).toBe(true);
      },
      // The locks of a SeaweedFS are slow in its first half minute.
      120_000,
    );

    unless("strange names")(label("strange names", "takes keys as names, not as paths"), async () => {
      const names = STRANGE.map((strange) => key(strange).slice(0, 1024));
      for (const strange of names) await store.put(strange, `at ${strange}`);
      for (const strange of names) expect(String(await read(strange))).toBe(`at ${strange}`);
      const all = await listed(root);
      for (const strange of names) expect(all).toContain(strange);
      await store.delete(key("d/x"));
      expect(String(await read(key("d/x/y")))).toBe(`at ${key("d/x/y")}`);
    });

    it("lists by prefix and delimiter, from behind a key, over several pages", async () => {
      const names = ["l/a", "l/b/1", "l/b/2", "l/c", "l/d/e/f", "m"];
      for (const one of names) await store.put(key(one), one);
      expect(await listed(key("l/"))).toEqual(names.slice(0, 5).map(key));
      expect(await listed(key("l/"), { delimiter: "/" })).toEqual([
        key("l/a"),
        `${key("l/b/")} …`,
        key("l/c"),
        `${key("l/d/")} …`,
      ]);
      expect(await listed(key("l/"), { after: key("l/b/2") })).toEqual([key("l/c"), key("l/d/e/f")]);
      expect(await listed(key("nowhere/"))).toEqual([]);
    });

    it("deletes below a prefix, more than a page, and nothing beside it", async () => {
      const names = Array.from({ length: 1005 }, (_, i) => key(`bulk/${String(i).padStart(5, "0")}`));
      for (let i = 0; i < names.length; i += 50)
        await Promise.all(names.slice(i, i + 50).map((one) => store.put(one, "x")));
      await store.put(key("bulk2"), "beside");
      expect(await listed(key("bulk/"))).toEqual(names);
      expect(await store.deletePrefix(key("bulk/"))).toBe(1005);
      expect(await listed(key("bulk"))).toEqual([key("bulk2")]);
      await expect(store.deletePrefix("")).rejects.toMatchObject({ code: "bad_request" });
    });

    unless("byte order")(label("byte order", "lists in the byte order of UTF-8"), async () => {
      const names = ["o/A", "o/a", "o/é", "o/\u{ff5e}", "o/🎉"];
      for (const one of [...names].reverse()) await store.put(key(one), one);
      expect(await listed(key("o/"))).toEqual(names.map(key));
    });

    it("copies only where nothing is, and says when there is nothing to copy", async () => {
      await store.put(key("source"), "copied");
      const once = { ifNoneMatch: true };
      expect(await store.copy(key("source"), key("copied once"), once)).toMatchObject({ created: true });
      await store.put(key("source"), "changed");
      expect(await store.copy(key("source"), key("copied once"), once)).toEqual({ created: false });
      expect(String(await read(key("copied once")))).toBe("copied");
      expect(await store.copy(key("no source"), key("copied never"), once)).toBeUndefined();
    });

    it("copies inside the store, and the copy lives on its own", async () => {
      await store.put(key("from é"), "copied", { contentType: "text/x-copied" });
      expect(await store.copy(key("from é"), key("to"))).toMatchObject({ etag: expect.any(String) });
      await store.delete(key("from é"));
      expect(String(await read(key("to")))).toBe("copied");
      expect(await store.head(key("to"))).toMatchObject({ contentType: "text/x-copied" });
    });

    it("copies what is too large for one copy as parts, under the same conditions", async () => {
      const bytes = randomBytes(COPIED_AT_ONCE + COPY_PART + 1);
      const size = bytes.length;
      await store.put(key("large"), bytes, { contentType: "text/x-large" });
      const once = { ifNoneMatch: true, size };
      expect(await store.copy(key("large"), key("as parts"), once)).toMatchObject({ created: true });
      expect((await read(key("as parts")))!.equals(bytes)).toBe(true);
      expect(await store.copy(key("large"), key("as parts"), once)).toEqual({ created: false });
      expect(await store.copy(key("large"), key("over it"), { size })).toMatchObject({ created: true });
      expect(await store.head(key("over it"))).toMatchObject({ size, contentType: "text/x-large" });
      expect(await store.copy(key("no source"), key("copied never"), { size })).toBeUndefined();
    });

    it("presigns a URL that anybody can read with", async () => {
      await store.put(key("signed é"), "for all");
      expect(await (await fetch(await store.presignGet(key("signed é"), 60))).text()).toBe("for all");
    });

    unless("signatures")(label("signatures", "gives nothing for a URL that was changed"), async () => {
      await store.put(key("signed"), "for all");
      const url = await store.presignGet(key("signed"), 60);
      expect((await fetch(url.replace("signed", "singed"))).status).toBe(403);
      expect((await fetch(url.split("?")[0]!)).status).toBe(403);
    });

    it("keeps a reader's object whole while it is replaced and deleted", async () => {
      const bytes = randomBytes(6 * MIB);
      await store.put(key("read"), bytes);
      const found = await store.get(key("read"));
      if (found!.body.readableLength === 0) await once(found!.body, "readable");
      await store.put(key("read"), "another");
      await store.delete(key("read"));
      expect((await buffer(found!.body)).equals(bytes)).toBe(true);
    });
  });
}
