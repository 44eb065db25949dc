/** What decides about webhooks: which addresses, when again, and how they are signed. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seal, unseal } from "../../../core/seal.ts";
import { webhookUrlSchema } from "../../../core/webhook-url.ts";
import { addressGuard } from "../../../gateway/webhooks/address-guard.ts";
import { afterPost, GIVE_UP_MS } from "../../../gateway/webhooks/after-post.ts";
import { postWebhook } from "../../../gateway/webhooks/post.ts";
import { signedHeaders } from "../../../gateway/webhooks/signature.ts";

describe("addresses", () => {
  const isPublic = addressGuard("");
  it.each(["8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2600::1", "2a00:1450:4001::1"])(
    "%s is public",
    (a) => {
      expect(isPublic(a)).toBe(true);
    },
  );
  it.each([
    ...[
      "127.0.0.1",
      "127.9.9.9",
      "0.0.0.0",
      "10.1.2.3",
      "172.16.0.1",
      "172.31.255.255",
      "192.168.1.1",
      "169.254.169.254",
    ],
    ...["100.64.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.170"],
    ...["::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "2002:7f00:1::"],
    ...["::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "0:0:0:0:0:ffff:7f00:1", "64:ff9b::7f00:1", "::127.0.0.1", "2001:0::1"],
    ...["", "localhost", "127.1"],
  ])("%s is not", (address) => {
    expect(isPublic(address)).toBe(false);
  });
  it("allows what the operator allows, and nothing beside it", () => {
    const guard = addressGuard("10.1.0.0/16, ::1/128");
    expect(["10.1.2.3", "::ffff:10.1.2.3", "::1", "9.9.9.9"].map(guard)).toEqual([true, true, true, true]);
    expect(["10.2.0.1", "127.0.0.1", "fe80::1"].map(guard)).toEqual([false, false, false]);
    for (const wrong of ["10.1.0.0", "10.1.0.0/33", "x/8", "10.0.0.0/8/8"])
      expect(() => addressGuard(wrong)).toThrow(/no CIDR/);
  });
});

describe("after an attempt", () => {
  const verdict = (posted: Parameters<typeof afterPost>[0], attempts = 1, ago = 0) =>
    afterPost(posted, attempts, 1_000_000, 1_000_000 + ago, 0.5);
  it("2xx is delivered", () => {
    expect(verdict({ status: 204 })).toEqual({
      delivery: { state: "delivered", attempts: 1, status: 204, endedAt: 1_000_000 },
    });
  });
  it("anything else is tried again, in longer and longer pauses up to an hour", () => {
    const pauses = [1, 2, 3, 4, 5, 6, 7, 8].map((attempts) => verdict({ status: 500 }, attempts).retryInMs);
    expect(pauses).toEqual([5_000, 20_000, 80_000, 320_000, 1_280_000, 3_600_000, 3_600_000, 3_600_000]);
    expect(verdict({ status: 302 }).delivery).toMatchObject({ state: "pending", nextAt: 1_005_000 });
    expect(verdict({ error: "connect ECONNREFUSED" }).delivery).toMatchObject({ error: "connect ECONNREFUSED" });
  });
  it("is given up after hours, and at once where nobody will ever listen again", () => {
    expect(verdict({ status: 500 }, 9, GIVE_UP_MS)).toMatchObject({ delivery: { state: "failed" } });
    expect(verdict({ status: 410 })).toEqual({
      delivery: { state: "failed", attempts: 1, status: 410, endedAt: 1_000_000 },
    });
  });
});

describe("signing", () => {
  it("is what the standard's own example says", () => {
    const headers = signedHeaders(
      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
      "msg_p5jXN8AQM9LWM0D4loKWxJek",
      1_614_265_330_999,
      '{"test": 2432232314}',
    );
    expect(headers).toEqual({
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    });
  });
  it("seals for one key and one purpose", () => {
    const sealed = seal("key", "a", "whsec_x");
    expect(sealed).not.toContain("whsec");
    expect(unseal("key", "a", sealed)).toBe("whsec_x");
    const changed = Buffer.from(sealed, "base64");
    changed[changed.length - 1]! ^= 1;
    for (const open of [
      () => unseal("other", "a", sealed),
      () => unseal("key", "b", sealed),
      () => unseal("key", "a", changed.toString("base64")),
      () => unseal("key", "a", ""),
    ])
      expect(open).toThrow(/another key/);
  });
});

describe("sending", () => {
  let server: Server;
  let port: number;
  const paths: string[] = [];
  beforeAll(async () => {
    server = createServer((request, reply) => {
      paths.push(request.url!);
      if (request.url === "/moved") reply.writeHead(302, { location: "/elsewhere" }).end();
      else if (request.url === "/endless") {
        reply.writeHead(200);
        const write = (): void => {
          while (!reply.destroyed && reply.write(Buffer.alloc(16_384)));
        };
        reply.on("drain", write);
        write();
      } else reply.writeHead(200).end("thanks");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const post = (url: string, allow = "127.0.0.0/8") => postWebhook(url, "{}", {}, addressGuard(allow));

  it("reaches what is allowed, by address and by name", async () => {
    expect(await post(`http://127.0.0.1:${port}/`)).toEqual({ status: 200 });
    expect(await post(`http://localhost:${port}/`)).toEqual({ status: 200 });
  });
  it.each(["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "[::1]", "0"])(
    "connects to nothing at %s without it",
    async (host) => {
      paths.length = 0;
      const url = `http://${host}:${port}/`;
      expect(webhookUrlSchema.safeParse(url).success).toBe(true);
      expect(await post(url, "")).toEqual({ error: expect.stringContaining("is not a public address") });
      expect(paths).toEqual([]);
    },
  );
  it("follows no redirect and reads no endless reply", async () => {
    paths.length = 0;
    expect(await post(`http://127.0.0.1:${port}/moved`)).toEqual({ status: 302 });
    expect(await post(`http://127.0.0.1:${port}/endless`)).toEqual({ status: 200 });
    expect(paths).toEqual(["/moved", "/endless"]);
  });
  it("says why nothing was reached", async () => {
    expect(await post("http://127.0.0.1:1/")).toEqual({ error: expect.stringContaining("ECONNREFUSED") });
    expect(await post("http://no-such-host.invalid/")).toEqual({ error: expect.stringMatching(/ENOTFOUND|EAI_AGAIN/) });
  });
});

it.each(["ftp://a/", "javascript:alert(1)", "a/b", "http://user:pw@a/", `http://a/${"x".repeat(2048)}`, "http://"])(
  "%s is no webhook URL",
  (url) => {
    expect(webhookUrlSchema.safeParse(url).success).toBe(false);
  },
);
