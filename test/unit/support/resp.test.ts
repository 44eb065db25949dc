/** Commands are found however the stream is cut. */
import { expect, test } from "vitest";
import { commandScanner } from "../../support/resp.ts";

const command = (...args: string[]): string =>
  `*${args.length}\r\n${args.map((one) => `$${Buffer.byteLength(one)}\r\n${one}\r\n`).join("")}`;

test("whole, several in a chunk, and cut anywhere", () => {
  const stream = Buffer.from(command("SET", "a", "1\r\n*2") + command("GET", "ä") + command("PING"));
  for (let size = 1; size <= stream.length; size++) {
    const scan = commandScanner();
    const seen: string[] = [];
    for (let at = 0; at < stream.length; at += size)
      for (const { args, end } of scan(stream.subarray(at, at + size))) {
        expect(end).toBeGreaterThan(0);
        seen.push(args.join(" "));
      }
    expect(seen).toEqual(["SET a 1\r\n*2", "GET ä", "PING"]);
  }
});

test("tells where in its chunk a command ends", () => {
  const scan = commandScanner();
  const first = command("PING");
  const [one, two] = scan(Buffer.from(`${first}${command("GET", "a")}*1\r\n$4\r\nPI`));
  expect(one?.end).toBe(first.length);
  expect(two?.end).toBe(first.length + command("GET", "a").length);
  expect(scan(Buffer.from("NG\r\n"))).toMatchObject([{ end: 4 }]);
});

test("what is no command is an error", () => {
  expect(() => commandScanner()(Buffer.from("PING\r\n"))).toThrow("not a Redis command");
});
