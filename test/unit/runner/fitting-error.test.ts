/** What a reply's header can carry of an error, whatever a container made of it. */
import { expect, it } from "vitest";
import type { ErrorBody } from "../../../core/errors.ts";
import { MAX_HEADER_BYTES } from "../../../core/protocol.ts";
import { fittingError } from "../../../runner/fitting-error.ts";

const error = (message: string, details?: Record<string, unknown>): ErrorBody => ({
  ...{ code: "exception", message, retryable: false, fault: "user" },
  ...(details ? { details } : {}),
});

it("leaves what fits as it is", () => {
  const usual = error("ValueError: no", { type: "ValueError", traceback: "x\n".repeat(30_000) });
  expect(fittingError(usual)).toBe(usual);
});

it("cuts what does not, the end of a traceback last", () => {
  const worst = error("\u0001".repeat(65_536), {
    ...{ type: "T", traceback: `${"\u0001".repeat(131_000)}the end` },
    problems: Array.from({ length: 50_000 }, (_, i) => `unknown argument ${i}`),
  });
  const told = fittingError(worst);
  expect(Buffer.byteLength(JSON.stringify(told))).toBeLessThan(MAX_HEADER_BYTES - 32 * 1024);
  expect(told).toMatchObject({ code: "exception", details: { type: "T" } });
  expect(String(told.details!.traceback)).toMatch(/the end$/);
  expect(told.details).not.toHaveProperty("problems");
});
