/** Which ports are taken, and what is said when they are busy. */
import { createServer } from "node:net";
import { expect, it } from "vitest";
import { choosePorts, kernelPorts, type PortProbe, type PortWish } from "../../../local/ports.ts";

const probe = (busy: number[], free: number[]): PortProbe => ({
  isFree: async (port) => !busy.includes(port),
  anyFree: async () => free.shift() ?? 0,
});
const wish = (name: PortWish["name"], port: number, explicit = false): PortWish => ({
  name,
  port,
  explicit,
  host: "127.0.0.1",
  flag: `--${name}-port`,
});

it("takes what is asked for when it is free", async () => {
  const wishes = [wish("gateway", 7700), wish("redis", 7701), wish("s3", 7702)];
  expect(await choosePorts(wishes, probe([], []))).toEqual({
    ports: { gateway: 7700, redis: 7701, s3: 7702 },
    notices: [],
  });
});

it("takes another one for a busy default and says so, and never the same twice", async () => {
  const { ports, notices } = await choosePorts(
    [wish("gateway", 7700), wish("redis", 7701), wish("s3", 7702)],
    probe([7700, 7701], [40_000, 40_000, 40_001]),
  );
  expect(ports).toEqual({ gateway: 40_000, redis: 40_001, s3: 7702 });
  expect(notices).toEqual([
    "port 7700 (gateway) is in use, so gateway listens on 40000",
    "port 7701 (redis) is in use, so redis listens on 40001",
  ]);
});

it("refuses a busy port that was named, and tells the flag", async () => {
  await expect(choosePorts([wish("gateway", 80, true)], probe([80], [40_000]))).rejects.toMatchObject({
    message: "port 80 (gateway) is in use by another program",
    hint: expect.stringContaining("--gateway-port 0"),
  });
});

it("takes any free one for 0, quietly", async () => {
  expect(await choosePorts([wish("s3", 0, true)], probe([], [41_000]))).toEqual({
    ports: { gateway: 0, redis: 0, s3: 41_000 },
    notices: [],
  });
});

it("asks the kernel", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  expect(await kernelPorts.isFree(port, "127.0.0.1")).toBe(false);
  await new Promise((resolve) => server.close(resolve));
  expect(await kernelPorts.isFree(port, "127.0.0.1")).toBe(true);
  expect(await kernelPorts.anyFree("127.0.0.1")).toBeGreaterThan(0);
});
