/** The small pure parts of the endpoint: ranges, CRCs, names, XML, conditions, sorted keys and pages of listings. */
import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { IndexEntry } from "../../../../local/s3/bucket.ts";
import { claimedChecksum, hasher } from "../../../../local/s3/checksum.ts";
import { allowWrite, notModified } from "../../../../local/s3/conditions.ts";
import { combineCrc } from "../../../../local/s3/crc.ts";
import { listPage } from "../../../../local/s3/list-objects.ts";
import { parseRange } from "../../../../local/s3/range.ts";
import { compareKeys, sortedKeys } from "../../../../local/s3/sorted-keys.ts";
import { parseTarget } from "../../../../local/s3/target.ts";
import { childText, parseXml, toXml } from "../../../../local/s3/xml.ts";

const code = (expected: string) => expect.objectContaining({ code: expected });

describe("ranges", () => {
  it.each([
    ["bytes=0-0", 10, { start: 0, end: 0 }],
    ["bytes=2-", 10, { start: 2, end: 9 }],
    ["bytes=2-99", 10, { start: 2, end: 9 }],
    ["bytes=-3", 10, { start: 7, end: 9 }],
    ["bytes=-30", 10, { start: 0, end: 9 }],
    ["bytes=5-2", 10, undefined],
    ["bytes=0-1,4-5", 10, undefined],
    ["lines=1-2", 10, undefined],
    ["bytes=-", 10, undefined],
    [undefined, 10, undefined],
  ])("%s of %i bytes", (header, size, range) => expect(parseRange(header, size)).toEqual(range));

  it.each([
    ["bytes=10-", 10],
    ["bytes=-0", 10],
    ["bytes=0-", 0],
    ["bytes=-1", 0],
  ])("%s of %i bytes cannot be had", (header, size) => {
    expect(() => parseRange(header, size)).toThrow(code("InvalidRange"));
  });
});

describe("checksums", () => {
  const digest = (name: Parameters<typeof hasher>[0], ...chunks: Uint8Array[]) => {
    const hash = hasher(name);
    for (const chunk of chunks) hash.update(chunk);
    return hash.digest();
  };

  it("gives the published check values of 123456789", () => {
    const text = Buffer.from("123456789");
    expect(digest("crc32", text).toString("hex")).toBe("cbf43926");
    expect(digest("crc32c", text).toString("hex")).toBe("e3069283");
    expect(digest("crc64nvme", text).toString("hex")).toBe("ae8b14860a799888");
  });

  it.each(["crc32", "crc32c", "crc64nvme"] as const)("%s does not care how the bytes are cut, and joins", (name) => {
    const bytes = randomBytes(10_000);
    const whole = digest(name, bytes);
    for (const cut of [0, 1, 7, 8, 4999, 10_000]) {
      const [a, b] = [bytes.subarray(0, cut), bytes.subarray(cut)];
      expect(digest(name, a, b)).toEqual(whole);
      expect(combineCrc(name, digest(name, a), digest(name, b), b.length)).toEqual(whole);
    }
    expect(digest("crc32", bytes).readUInt32BE()).toBe(crc32(bytes));
  });

  it("takes names whole, one at a time, well formed", () => {
    expect(claimedChecksum({ "x-amz-checksum-crc32c": "AAAAAA==" })).toEqual({ name: "crc32c", value: "AAAAAA==" });
    expect(claimedChecksum({ "x-amz-trailer": "x-amz-checksum-crc64nvme" })).toEqual({ name: "crc64nvme" });
    expect(claimedChecksum({ "x-amz-checksum-mode": "ENABLED", "x-amz-checksum-algorithm": "CRC32" })).toBeUndefined();
    expect(() => claimedChecksum({ "x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-sha1": "x" })).toThrow(
      code("InvalidRequest"),
    );
    expect(() => claimedChecksum({ "x-amz-checksum-crc32": "AAAA" })).toThrow(code("InvalidRequest"));
    expect(() => claimedChecksum({ "x-amz-checksum-crc16": "AAAA" })).toThrow(code("InvalidRequest"));
  });
});

describe("targets", () => {
  it.each([
    ["/", "", ""],
    ["/bucket", "bucket", ""],
    ["/bucket/", "bucket", ""],
    ["/bucket/a//b", "bucket", "a//b"],
    ["/bucket/./x", "bucket", "./x"],
    ["/bucket/a%252Fb", "bucket", "a%2Fb"],
    ["/bucket/%C3%BCn%C3%AF", "bucket", "ünï"],
    ["/bucket/a/../b", "bucket", "a/../b"],
  ])("%s", (url, bucket, key) => expect(parseTarget(url, "host")).toMatchObject({ bucket, key }));

  it("finds the bucket in a host below .localhost", () => {
    expect(parseTarget("/a/b", "bucket.localhost:9000")).toMatchObject({
      bucket: "bucket",
      key: "a/b",
      canonicalPath: "/a/b",
    });
  });

  it.each([
    ["/b/../../etc/passwd", "InvalidURI"],
    ["/b/..", "InvalidURI"],
    ["/b/a/../../x", "InvalidURI"],
    ["/b/%2e%2e/x", "InvalidURI"],
    ["/b/%00", "InvalidURI"],
    ["/b/%ff", "InvalidURI"],
    [`/b/${"é".repeat(513)}`, "KeyTooLongError"],
    ["/b?a=1&a=2", "InvalidArgument"],
  ])("refuses %.20s", (url, expected) => expect(() => parseTarget(url, "host")).toThrow(code(expected)));
});

describe("xml", () => {
  it("gives back what it wrote", () => {
    const name = "a<b>&\"c'\u0001\r\n é 🎉";
    expect(childText(parseXml(toXml("R", { Key: name, No: undefined, Many: [1, 2] })), "Key")).toBe(name);
  });

  it("reads prefixes, CDATA, comments and attributes", () => {
    const node = parseXml(
      '<?xml version="1.0"?><!-- c --><s:Delete xmlns:s="x"><s:Key><![CDATA[<&>]]></s:Key><Quiet/></s:Delete>',
    );
    expect([node.name, childText(node, "Key"), childText(node, "Quiet")]).toEqual(["Delete", "<&>", ""]);
  });

  it.each([
    "",
    "<a>",
    "<a></b>",
    "</a>",
    "<a/><b/>",
    "<!DOCTYPE a><a/>",
    "<a>&x;</a>",
    "<a>&#x110000;</a>",
    "<a>".repeat(20),
    "no",
  ])("refuses %s", (text) => {
    expect(() => parseXml(text)).toThrow(code("MalformedXML"));
  });
});

describe("conditions", () => {
  const facts = { etag: "abc", modifiedMs: Date.UTC(2026, 0, 1, 0, 0, 0, 500) };
  const sameSecond = "Thu, 01 Jan 2026 00:00:00 GMT";

  it("decides reads", () => {
    expect(notModified({ "if-none-match": '"x", W/"abc"' }, facts)).toBe(true);
    expect(notModified({ "if-none-match": '"x"', "if-modified-since": sameSecond }, facts)).toBe(false);
    expect(notModified({ "if-modified-since": sameSecond }, facts)).toBe(true);
    expect(notModified({ "if-unmodified-since": sameSecond, "if-match": "*" }, facts)).toBe(false);
    expect(() => notModified({ "if-match": '"x"' }, facts)).toThrow(code("PreconditionFailed"));
    expect(() => notModified({ "if-unmodified-since": "Wed, 31 Dec 2025 23:59:59 GMT" }, facts)).toThrow(
      code("PreconditionFailed"),
    );
  });

  it("decides writes", () => {
    allowWrite({ "if-none-match": "*" }, undefined);
    allowWrite({ "if-match": '"abc"' }, facts);
    expect(() => allowWrite({ "if-none-match": "*" }, facts)).toThrow(code("PreconditionFailed"));
    expect(() => allowWrite({ "if-match": '"x"' }, facts)).toThrow(code("PreconditionFailed"));
    expect(() => allowWrite({ "if-match": '"x"' }, undefined)).toThrow(code("NoSuchKey"));
    expect(() => allowWrite({ "if-none-match": '"x"' }, undefined)).toThrow(code("NotImplemented"));
  });
});

describe("sorted keys", () => {
  it("orders as UTF-8 bytes do", () => {
    const keys = ["", "a", "a/", "a0", "é", "\ud7ff", "\ue000", "\uffff", "🎉", "𝒳"];
    const byBytes = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect([...keys].sort(compareKeys)).toEqual(byBytes);
  });

  it("holds what a sorted set holds, through thousands of changes", () => {
    const sorted = sortedKeys<{ key: string; n: number }>();
    const truth = new Map<string, number>();
    for (let n = 0; n < 20_000; n++) {
      const key = String(randomBytes(2).readUInt16BE());
      if (n % 3 === 2) {
        sorted.delete(key);
        truth.delete(key);
      } else {
        sorted.set({ key, n });
        truth.set(key, n);
      }
    }
    const seen: [string, number][] = [];
    for (const cursor = sorted.seek(() => false); cursor.entry; cursor.next())
      seen.push([cursor.entry.key, cursor.entry.n]);
    expect(seen).toEqual([...truth].sort(([a], [b]) => compareKeys(a, b)));
    expect(sorted.size).toBe(truth.size);
    for (const [key, n] of truth) expect(sorted.get(key)?.n).toBe(n);
  });
});

describe("listing", () => {
  const keys = ["a", "b/1", "b/2", "b/c/3", "c", "d/", "d/1", "e"];
  const index = sortedKeys<IndexEntry>(keys.map((key) => ({ key, size: 1, etag: "e", modifiedMs: 0 })));
  const list = (change: Partial<Parameters<typeof listPage>[1]>) => {
    const page = listPage(index, { prefix: "", delimiter: "", after: "", maxKeys: 1000, ...change });
    return [page.contents.map((entry) => entry.key), page.prefixes, page.next];
  };

  it("groups below a delimiter, within a prefix", () => {
    expect(list({})).toEqual([keys, [], undefined]);
    expect(list({ delimiter: "/" })).toEqual([["a", "c", "e"], ["b/", "d/"], undefined]);
    expect(list({ delimiter: "/", prefix: "b/" })).toEqual([["b/1", "b/2"], ["b/c/"], undefined]);
    expect(list({ delimiter: "/", prefix: "d/" })).toEqual([["d/", "d/1"], [], undefined]);
    expect(list({ prefix: "x" })).toEqual([[], [], undefined]);
  });

  it.each([1, 2, 3])("visits everything once in pages of %i", (maxKeys) => {
    for (const delimiter of ["", "/"]) {
      const names: string[] = [];
      let after: string | undefined = "";
      while (after !== undefined) {
        const page = listPage(index, { prefix: "", delimiter, after, maxKeys });
        names.push(...page.contents.map((entry) => entry.key), ...page.prefixes);
        after = page.next;
      }
      expect(names.sort()).toEqual(delimiter ? ["a", "b/", "c", "d/", "e"] : keys);
    }
  });

  it("starts behind a key that need not exist, and gives nothing for no keys", () => {
    expect(list({ after: "b/15" })).toEqual([["b/2", "b/c/3", "c", "d/", "d/1", "e"], [], undefined]);
    expect(list({ after: "b/1", delimiter: "/" })).toEqual([["c", "e"], ["b/", "d/"], undefined]);
    expect(list({ after: "zzz" })).toEqual([[], [], undefined]);
    expect(list({ maxKeys: 0 })).toEqual([[], [], undefined]);
  });
});
