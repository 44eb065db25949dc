/** Variants of a class: their values, their names as pools, what they are served with, and whose log lines are whose. */
import { describe, expect, it, test } from "vitest";
import type { Target } from "../../../core/catalog.ts";
import { resolveVariant } from "../../../core/resolve-variant.ts";
import { functionSpecSchema } from "../../../core/spec.ts";
import {
  calledName,
  fitParameters,
  fromText,
  isOf,
  mayBeOf,
  overridesSchema,
  parseVariant,
  poolName,
  servedFunction,
  specName,
} from "../../../core/variant.ts";

const spec = functionSpecSchema.parse({
  name: "Model",
  image: "i",
  entry: { module: "m", qualname: "Model" },
  timeout: 60,
  class: {
    parameters: [
      { name: "size", type: "str", default: "small" },
      { name: "layers", type: "int", default: 1 },
    ],
    methods: [{ name: "predict" }],
  },
});
const needy = functionSpecSchema.parse({ ...spec, class: { ...spec.class, parameters: [{ name: "n", type: "int" }] } });

describe("values", () => {
  const declared = spec.class!.parameters;
  it("have defaults, and no strangers", () => {
    expect(fitParameters(declared, { layers: 2 })).toEqual({ values: { size: "small", layers: 2 }, problems: [] });
    expect(fitParameters(declared, { layers: 1.5, color: "red" }).problems).toEqual([
      "unknown parameter 'color'",
      "parameter 'layers' is no int",
    ]);
    expect(fitParameters(needy.class!.parameters, {}).problems).toEqual(["missing parameter 'n'"]);
    expect(fitParameters(declared, { ["__proto__"]: 1 }).values).toEqual({ size: "small", layers: 1 });
  });
  test.each([
    ["int", "-3", -3],
    ["int", "1.5", "1.5"],
    ["int", "", ""],
    ["float", "1e3", 1000],
    ["float", "NaN", "NaN"],
    ["bool", "True", true],
    ["bool", "0", false],
    ["bool", "maybe", "maybe"],
    ["str", "3", "3"],
    [undefined, "3", "3"],
  ] as const)("%s from %j is %j", (type, text, value) => expect(fromText(type, text)).toBe(value));
});

describe("pools", () => {
  const named = (parameters: Record<string, string | number>, options = {}) => poolName(spec, { parameters, options });
  it("are the class' own for its defaults, and one for each other variant", () => {
    expect(named({ layers: 1, size: "small" })).toBe("Model");
    const large = named({ size: "large", layers: 1 });
    expect(large).toMatch(/^Model~[0-9a-f]{16}$/);
    expect(named({ layers: 1, size: "large" })).toBe(large);
    expect(named({ size: "small", layers: 1 }, { timeout: 5 })).not.toBe("Model");
    expect(specName(large)).toBe("Model");
  });
  it("are served with their options, once their values are known", () => {
    const variant = { parameters: { size: "x", layers: 1 }, options: { timeout: 5, max_inputs: 3 } };
    expect(servedFunction(spec, "Model~1", variant)).toMatchObject({
      name: "Model~1",
      timeout: 5,
      max_inputs: 3,
      variant,
    });
    expect(servedFunction(spec, "Model~1")).toBeUndefined();
    expect(servedFunction(needy, "Model")).toBeUndefined();
    expect(servedFunction(spec, "Model")).toMatchObject({ variant: { parameters: { size: "small", layers: 1 } } });
  });
});

test("names: a method belongs to its class", () => {
  expect(calledName({ fn: "Model~1", method: "predict" })).toBe("Model.predict");
  expect(calledName({ fn: "add" })).toBe("add");
  expect([isOf("Model.predict", "Model"), isOf("Model", "Model.predict"), isOf("Models", "Model")]).toEqual([
    true,
    false,
    false,
  ]);
  expect([mayBeOf("Model~1", "Model.predict"), mayBeOf("Model", "Mode")]).toEqual([true, false]);
});

describe("a call's variant", () => {
  const target: Target = {
    ...{ key: "a/Model", app: "a", name: "Model.predict", spec, method: "predict", version: "1", python: "3.11" },
  };
  const none = async () => [];
  it("names its pool, once and for all", async () => {
    const large = await resolveVariant(target, { query: { size: "large" } }, none);
    expect(large.key).toBe(`a/${large.spec.name}`);
    expect(parseVariant(large.variant!)).toEqual({ parameters: { layers: 1, size: "large" }, options: {} });
    expect(await resolveVariant(target, { query: { size: "large" } }, none)).toBe(large);
    expect((await resolveVariant(target, { parameters: { size: "large" } }, none)).key).toBe(large.key);
    expect((await resolveVariant(target, {}, none)).key).toBe("a/Model");
  });
  it("is the class' own where the options say nothing new", async () => {
    expect((await resolveVariant(target, { options: { timeout: 60 } }, none)).key).toBe("a/Model");
    expect((await resolveVariant(target, { options: { timeout: 5 } }, none)).spec.timeout).toBe(5);
  });
  test.each([
    [{ query: { layers: "x" } }, "invalid_parameters"],
    [{ options: { image: "i" } }, "bad_request"],
    [{ options: { timeout: -1 } }, "bad_request"],
  ])("%j is refused: %s", async (asked, code) => {
    await expect(resolveVariant(target, asked, none)).rejects.toMatchObject({ code });
  });
  it("is refused where no node could ever hold it", async () => {
    const node = { id: "n", runner: "r", engine: "process", hostname: "h", cpuMillis: 1000, memoryBytes: 2 ** 30 };
    const nodes = async () => [{ ...node, gpus: [], startedAt: 0 }];
    await expect(resolveVariant(target, { options: { gpu: "A100" } }, nodes)).rejects.toMatchObject({
      code: "resources_unavailable",
    });
  });
});

test("overrides have no defaults of their own", () => expect(overridesSchema.parse({})).toEqual({}));
