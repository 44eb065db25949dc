/** The aws-chunked decoder: Amazon's worked example, cut anywhere, and everything a broken body can be. */
import { createHash, createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { decodeChunked } from "../../../../local/s3/chunked.ts";
import { type Signer, signingKey } from "../../../../local/s3/signature.ts";

const key = signingKey("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1");
const signer: Signer = {
  payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
  seed: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
  sign: (kind, previous, ...hashes) =>
    createHmac("sha256", key)
      .update(
        [
          `AWS4-HMAC-SHA256-${kind}`,
          "20130524T000000Z",
          "20130524/us-east-1/s3/aws4_request",
          previous,
          ...hashes,
        ].join("\n"),
      )
      .digest("hex"),
};
const example = Buffer.concat([
  Buffer.from("10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"),
  Buffer.alloc(65536, "a"),
  Buffer.from("\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"),
  Buffer.alloc(1024, "a"),
  Buffer.from("\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"),
]);

async function decode(body: Buffer, { signed = false, trailer = false, pieces = body.length } = {}) {
  const trailers: Record<string, string> = {};
  async function* source() {
    for (let i = 0; i < body.length; i += pieces) yield body.subarray(i, i + pieces);
  }
  const chunks: Buffer[] = [];
  const options = {
    signer,
    signed,
    trailer,
    onTrailer: (name: string, value: string) => void Object.assign(trailers, { [name]: value }),
  };
  for await (const chunk of decodeChunked(source(), options)) chunks.push(chunk);
  return { text: Buffer.concat(chunks).toString("latin1"), trailers };
}

describe("signed chunks", () => {
  it.each([1, 7, 4096, example.length])("accepts the example in pieces of %i bytes", async (pieces) => {
    expect((await decode(example, { signed: true, pieces })).text).toBe("a".repeat(66560));
  });

  it("refuses a changed byte, a missing signature and a missing end", async () => {
    const changed = Buffer.from(example);
    changed[66000] = 98;
    await expect(decode(changed, { signed: true })).rejects.toMatchObject({ code: "SignatureDoesNotMatch" });
    await expect(decode(Buffer.from("0\r\n\r\n"), { signed: true })).rejects.toMatchObject({
      code: "SignatureDoesNotMatch",
    });
    await expect(decode(example.subarray(0, 66000), { signed: true })).rejects.toMatchObject({
      code: "IncompleteBody",
    });
  });

  it("refuses trailers whose signature is missing or wrong", async () => {
    const end = `0;chunk-signature=${signer.sign("PAYLOAD", signer.seed, sha(""), sha(""))}\r\n`;
    const first = signer.sign("PAYLOAD", signer.seed, sha(""), sha(""));
    const good = signer.sign("TRAILER", first, sha("x-amz-checksum-crc32:AAAAAA==\n"));
    const body = (signature: string) => Buffer.from(`${end}x-amz-checksum-crc32:AAAAAA==\r\n${signature}\r\n`);
    const options = { signed: true, trailer: true };
    expect((await decode(body(`x-amz-trailer-signature:${good}\r\n`), options)).trailers).toEqual({
      "x-amz-checksum-crc32": "AAAAAA==",
    });
    for (const wrong of ["", `x-amz-trailer-signature:${first}\r\n`])
      await expect(decode(body(wrong), options)).rejects.toMatchObject({ code: "SignatureDoesNotMatch" });
  });
});

describe("unsigned chunks", () => {
  it.each([1, 3, 1000])("reads chunks and trailers in pieces of %i bytes", async (pieces) => {
    const body = Buffer.from("5\r\nhello\r\n6\r\n world\r\n0\r\nX-Amz-Checksum-CRC32 : DUoRhQ==\r\n\r\n");
    expect(await decode(body, { trailer: true, pieces })).toEqual({
      text: "hello world",
      trailers: { "x-amz-checksum-crc32": "DUoRhQ==" },
    });
  });

  it.each([
    ["no end", "5\r\nhello\r\n"],
    ["a chunk cut short", "5\r\nhel"],
    ["a chunk that is too long", "2\r\nhello\r\n0\r\n\r\n"],
    ["a size that is none", "zz\r\nhello\r\n0\r\n\r\n"],
    ["a negative size", "-5\r\nhello\r\n0\r\n\r\n"],
    ["bytes after the end", "0\r\n\r\nmore"],
    ["trailers nobody announced", "0\r\na:b\r\n\r\n"],
    ["an endless line", "5".repeat(10_000)],
  ])("refuses %s", async (_, body) => {
    await expect(decode(Buffer.from(body))).rejects.toMatchObject({ code: "IncompleteBody" });
  });
});

const sha = (text: string): string => createHash("sha256").update(text).digest("hex");
