/** One making for callers of the same thing, given up with the last of them. */
import { expect, test } from "vitest";
import type { BuildEvent } from "../../../../core/image-builder.ts";
import { type Make, sharedBuilds } from "../../../../gateway/build/shared-build.ts";

/** A making that ends when told to. */
function making() {
  const calls: AbortSignal[] = [];
  let tell: (event: BuildEvent) => void = () => {};
  let finish: (value: string) => void = () => {};
  const make: Make<string> = (onEvent, signal) => {
    calls.push(signal);
    tell = onEvent;
    return new Promise((resolve, reject) => {
      finish = resolve;
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  };
  return { make, calls, tell: (text: string) => tell({ kind: "log", text }), finish: (value: string) => finish(value) };
}

const never = new AbortController().signal;

test("a late caller hears what was said before, and both get the same", async () => {
  const share = sharedBuilds<string>();
  const { make, calls, tell, finish } = making();
  const heard: string[][] = [[], []];
  const first = share("k", make, ({ text }) => heard[0]!.push(text), never);
  tell("one");
  const second = share("k", make, ({ text }) => heard[1]!.push(text), never);
  tell("two");
  finish("made");
  expect(await Promise.all([first, second])).toEqual(["made", "made"]);
  expect(heard).toEqual([
    ["one", "two"],
    ["one", "two"],
  ]);
  expect(calls).toHaveLength(1);
});

test("one caller that goes does not end it; the last one does, and a newcomer starts afresh", async () => {
  const share = sharedBuilds<string>();
  const { make, calls, finish } = making();
  const [one, two] = [new AbortController(), new AbortController()];
  const first = share("k", make, () => {}, one.signal);
  const second = share("k", make, () => {}, two.signal);
  one.abort(new Error("first goes"));
  await expect(first).rejects.toThrow("first goes");
  expect(calls[0]!.aborted).toBe(false);
  two.abort(new Error("second goes"));
  const third = share("k", make, () => {}, never);
  await expect(second).rejects.toThrow("second goes");
  expect(calls[0]!.aborted).toBe(true);
  finish("again");
  expect(await third).toBe("again");
  expect(calls).toHaveLength(2);
});

test("a failure reaches everybody and is not remembered", async () => {
  const share = sharedBuilds<string>();
  const failing = () => Promise.reject(new Error("no"));
  await expect(share("k", failing, () => {}, never)).rejects.toThrow("no");
  expect(
    await share(
      "k",
      async () => "yes",
      () => {},
      never,
    ),
  ).toBe("yes");
});
