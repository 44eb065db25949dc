/** What the describer's answer becomes: a description, or an error a person can act on. */
import { expect, it } from "vitest";
import { onlyEntry } from "../../../sdk/cli/commands/run.ts";
import { readDescription } from "../../../sdk/cli/describe.ts";
import { cell, rowsOf, table } from "../../../sdk/cli/table.ts";

const good = {
  app: "a",
  root: "/a",
  images: { i: { python: "3.11" } },
  functions: [{ name: "f", image: "i", entry: { module: "m", qualname: "f" } }],
};

it("reads the last line, whatever the user's module printed before", () => {
  expect(readDescription(`hello\n${JSON.stringify(good)}\n`)).toMatchObject({
    app: "a",
    functions: [{ name: "f", cpu: 1 }],
  });
});

it("keeps the describer's code and message", () => {
  const answer = JSON.stringify({ error: { code: "app_not_defined", message: "no app in x.py" } });
  expect(() => readDescription(answer)).toThrow(
    expect.objectContaining({ code: "app_not_defined", message: "no app in x.py" }),
  );
});

it("tells what Python said when there is no answer", () => {
  expect(() => readDescription("", "Segmentation fault")).toThrow(/Segmentation fault/);
});

it("names the field that does not fit", () => {
  const bad = { ...good, images: { i: { python: "two" } } };
  expect(() => readDescription(JSON.stringify(bad))).toThrow(expect.objectContaining({ code: "image_spec_invalid" }));
});

it("runs the only entrypoint, else the only function, else asks", () => {
  const [main, f, g] = ["main", "f", "g"].map((name) => ({ name }));
  expect(onlyEntry({ entrypoints: [main!], functions: [f!, g!] })).toBe("main");
  expect(onlyEntry({ entrypoints: [], functions: [f!] })).toBe("f");
  expect(onlyEntry({ entrypoints: [], functions: [{ name: "M", class: { methods: [g!] } }] })).toBe("M.g");
  expect(() => onlyEntry({ entrypoints: [], functions: [f!, g!] })).toThrow(/f, g/);
});

it("lays out tables", () => {
  expect(
    table(
      [
        { a: "x", b: 1.23456789 },
        { a: "long", b: null },
      ],
      ["a", "b"],
    ),
  ).toEqual(["A     B", "x     1.23457", "long  -"]);
  expect(rowsOf({ apps: [{ app: "x" }] })).toEqual([{ app: "x" }]);
  expect(cell({ loss: 0.5, ok: true })).toBe("loss=0.5 ok=true");
});
