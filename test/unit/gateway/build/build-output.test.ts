/** BuildKit's messages as people read them. */
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import type { BuildEvent } from "../../../../core/image-builder.ts";
import { readOutput } from "../../../../gateway/build/build-output.ts";
import { readStatus } from "../../../../gateway/build/buildkit-status.ts";

/** Protobuf, as much as is needed: length-delimited fields. */
const field = (number: number, content: string | Buffer): Buffer => {
  const bytes = Buffer.from(content as string);
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
};
const step = (digest: string, name: string) =>
  field(1, Buffer.concat([field(1, digest), field(3, name), Buffer.from([0x20, 1]), field(5, Buffer.from([8, 1]))]));
const output = (text: string) => field(3, Buffer.concat([field(1, "vertex"), Buffer.from([0x18, 1]), field(4, text)]));
const line = (...parts: Buffer[]) =>
  `${JSON.stringify({ id: "moby.buildkit.trace", aux: Buffer.concat(parts).toString("base64") })}\n`;
const never = new AbortController().signal;

test("reads steps and output, skips what it does not know", () => {
  const message = Buffer.concat([
    step("sha256:1", "[2/3] RUN x"),
    field(2, "status"),
    output("Ünicode\n"),
    Buffer.from([0x48, 0x96, 0x01]),
  ]);
  expect(readStatus(message)).toEqual({
    steps: [{ digest: "sha256:1", name: "[2/3] RUN x", started: true }],
    output: ["Ünicode\n"],
  });
});

test("tells each step once without our mounts, joins half lines, keeps the failure", async () => {
  const events: BuildEvent[] = [];
  const run = step("sha256:2", '[2/2] RUN --mount=type=bind,source=a,target=b ["pip"]');
  const stream = Readable.from([
    line(step("sha256:1", "[internal] load context"), run),
    line(run, output("Collect")),
    line(output("ing six\r\nERROR: no\n")),
    `${JSON.stringify({ errorDetail: {}, error: "executor failed" })}\n`,
  ]);
  expect(await readOutput(stream, (event) => events.push(event), never)).toEqual({
    failure: "executor failed",
    lines: ["Collecting six", "ERROR: no"],
  });
  expect(events).toEqual([
    { kind: "step", text: '[2/2] RUN ["pip"]' },
    { kind: "log", text: "Collecting six" },
    { kind: "log", text: "ERROR: no" },
  ]);
});

test("a stream that breaks is a daemon that went away", async () => {
  const stream = new Readable({ read() {} });
  const reading = readOutput(stream, () => {}, never);
  stream.destroy(new Error("aborted"));
  await expect(reading).rejects.toMatchObject({ code: "engine_unavailable" });
});

test("an abort ends it with the abort's reason", async () => {
  const stop = new AbortController();
  const reading = readOutput(new Readable({ read() {} }), () => {}, stop.signal);
  stop.abort(new Error("enough"));
  await expect(reading).rejects.toThrow("enough");
});
