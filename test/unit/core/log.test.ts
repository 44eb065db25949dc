/** Positions of lines, gaps between them, and points in time as people write them. */
import { describe, expect, it } from "vitest";
import { gapText } from "../../../core/log-gap.ts";
import { compareSeq, gapBetween, isLogSeq } from "../../../core/log-seq.ts";
import { parseMoment } from "../../../core/moment.ts";

describe("positions", () => {
  it("are ordered by epoch, then number", () => {
    expect(compareSeq("9-9", "10-1")).toBeLessThan(0);
    expect(compareSeq("10-10", "10-2")).toBeGreaterThan(0);
    expect(compareSeq("10-2", "10-2")).toBe(0);
    for (const text of ["", "x", "1", "1-2-3", "-1-2", "1-1234567890123456"]) expect(isLogSeq(text)).toBe(false);
  });

  it("show what is missing between two lines", () => {
    expect(gapBetween("7-1", "7-2")).toBeUndefined();
    expect(gapBetween("7-1", "7-5")?.gap).toEqual({ lines: 3, from: "7-2", to: "7-4" });
    expect(gapBetween("7-1", "9-1")?.gap).toEqual({ from: "7-2", to: "9-0" });
    expect(gapText({ lines: 1 }, "why")).toBe("(1 line is missing here: why)");
    expect(gapText({}, "why")).toBe("(lines may be missing here: why)");
  });
});

describe("a point in time", () => {
  const now = Date.parse("2026-11-24T12:00:00Z");
  it.each([
    ["30s", "2026-11-24T11:59:30Z"],
    ["1.5h", "2026-11-24T10:30:00Z"],
    ["3d", "2026-11-21T12:00:00Z"],
    ["2026-11-24", "2026-11-24T00:00:00Z"],
    ["2026-11-24T10:00", "2026-11-24T10:00:00Z"],
    ["2026-11-24 10:00:00", "2026-11-24T10:00:00Z"],
    ["2026-11-24T10:00:00+02:00", "2026-11-24T08:00:00Z"],
    [String(now), "2026-11-24T12:00:00Z"],
  ])("%s is %s", (text, iso) => expect(parseMoment(text, now)).toBe(Date.parse(iso)));

  it.each(["", "yesterday", "10", "10 m", "-3d", "2026-13-01", "2026-11-24T25:00", "9999999999999999"])(
    "%j is none",
    (text) => expect(parseMoment(text, now)).toBeUndefined(),
  );
});
