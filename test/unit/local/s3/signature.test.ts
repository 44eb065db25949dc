/** Signature Version 4 against the worked examples in Amazon's S3 API reference, and what must be refused. */
import { expect, it } from "vitest";
import { authenticate, type SignedRequest } from "../../../../local/s3/signature.ts";
import { parseTarget } from "../../../../local/s3/target.ts";

const KEYS = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const NOW = Date.UTC(2013, 4, 24);
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

function request(method: string, url: string, headers: Record<string, string>): SignedRequest {
  const distinct = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
  return { method, target: parseTarget(url, headers.host ?? ""), headers, headersDistinct: distinct };
}

const auth = (signedHeaders: string, signature: string): string =>
  `AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=${signedHeaders},Signature=${signature}`;

const getHeaders = {
  host: "examplebucket.s3.amazonaws.com",
  range: "bytes=0-9",
  "x-amz-content-sha256": EMPTY,
  "x-amz-date": "20130524T000000Z",
  authorization: auth(
    "host;range;x-amz-content-sha256;x-amz-date",
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  ),
};
const get = (change: Record<string, string> = {}, nowMs = NOW) =>
  authenticate(request("GET", "/test.txt", { ...getHeaders, ...change }), KEYS, nowMs);

it("accepts the example of a GET", () => expect(get().payload).toBe(EMPTY));

it("accepts the example of a PUT whose key and header need care", () => {
  const headers = {
    host: "examplebucket.s3.amazonaws.com",
    date: "Fri, 24 May 2013 00:00:00 GMT",
    "x-amz-date": "20130524T000000Z",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    authorization: auth(
      "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
  };
  expect(authenticate(request("PUT", "/test$file.text", headers), KEYS, NOW).payload).toMatch(/^44ce/);
});

it("accepts the example of a list, whose query is sorted", () => {
  const headers = {
    ...getHeaders,
    authorization: auth(
      "host;x-amz-content-sha256;x-amz-date",
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
  };
  expect(authenticate(request("GET", "/?prefix=J&max-keys=2", headers), KEYS, NOW).payload).toBe(EMPTY);
});

const presigned =
  "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
  "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
  "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
const follow = (url: string, nowMs = NOW) =>
  authenticate(request("GET", url, { host: "examplebucket.s3.amazonaws.com" }), KEYS, nowMs);

it("accepts the example of a presigned URL until it expires", () => {
  expect(follow(presigned, NOW + 86_400_000).payload).toBe("UNSIGNED-PAYLOAD");
  expect(() => follow(presigned, NOW + 86_401_000)).toThrow("Request has expired");
  expect(() => follow(presigned, NOW - 16 * 60_000)).toThrow("not yet valid");
});

it("refuses a presigned URL that was changed, or whose terms are odd", () => {
  expect(() => follow(presigned.replace("test", "rest"))).toThrow(/does not match/);
  expect(() => follow(presigned.replace("86400", "604801"))).toThrow(/between 1 and 604800/);
  expect(() => follow(presigned.replace("&X-Amz-Date=20130524T000000Z", ""))).toThrow(/requires X-Amz-Date/);
  expect(() => follow(`${presigned}&response-content-type=text/html`)).toThrow(/does not match/);
});

it("says which version to use when a URL is signed with the old one", () => {
  expect(() => follow("/test.txt?AWSAccessKeyId=a&Signature=b&Expires=1")).toThrow(/s3v4/);
});

it.each([
  ["another range", { range: "bytes=0-10" }, "SignatureDoesNotMatch"],
  ["an unsigned header that matters", { "x-amz-meta-a": "b" }, "AccessDenied"],
  ["no signature", { authorization: undefined as unknown as string }, "AccessDenied"],
  ["a signature of version 2", { authorization: "AWS AKIA:abc" }, "InvalidRequest"],
  ["a malformed one", { authorization: "AWS4-HMAC-SHA256 Credential=a" }, "AuthorizationHeaderMalformed"],
  [
    "another service",
    { authorization: getHeaders.authorization.replace("/s3/", "/ec2/") },
    "AuthorizationHeaderMalformed",
  ],
  [
    "another day",
    { authorization: getHeaders.authorization.replace("20130524", "20130525") },
    "AuthorizationHeaderMalformed",
  ],
  ["an unknown key", { authorization: getHeaders.authorization.replace("AKIA", "BKIA") }, "InvalidAccessKeyId"],
  ["a host that is not signed", { authorization: getHeaders.authorization.replace("host;", "") }, "AccessDenied"],
])("refuses %s", (_, change, code) => {
  expect(() => get(change)).toThrow(expect.objectContaining({ code }));
});

it("refuses a clock that is more than 15 minutes off, either way", () => {
  expect(get({}, NOW + 15 * 60_000).payload).toBe(EMPTY);
  for (const offMs of [15 * 60_000 + 1, -15 * 60_000 - 1])
    expect(() => get({}, NOW + offMs)).toThrow(expect.objectContaining({ code: "RequestTimeTooSkewed" }));
});
