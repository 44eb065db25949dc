/** Ignore files as git reads them. */
import { expect, it } from "vitest";
import { ignored, parseIgnore } from "../../../sdk/cli/ignore.ts";

const cases: [pattern: string, path: string, isFolder: boolean, outcome: boolean][] = [
  ["*.log", "a.log", false, true],
  ["*.log", "deep/down/a.log", false, true],
  ["*.log", "a.logs", false, false],
  ["/a.txt", "a.txt", false, true],
  ["/a.txt", "deep/a.txt", false, false],
  ["build/", "build", true, true],
  ["build/", "build", false, false],
  ["docs/*.md", "docs/a.md", false, true],
  ["docs/*.md", "docs/deep/a.md", false, false],
  ["docs/*.md", "x/docs/a.md", false, false],
  ["**/tmp", "a/b/tmp", true, true],
  ["a/**", "a/b/c", false, true],
  ["a/**/z", "a/z", false, true],
  ["a/**/z", "a/b/c/z", false, true],
  ["file?.txt", "file1.txt", false, true],
  ["file[0-9].txt", "file7.txt", false, true],
  ["file[!0-9].txt", "file7.txt", false, false],
  ["# comment", "# comment", false, false],
  ["\\#file", "#file", false, true],
  ["*.log\n!keep.log", "keep.log", false, false],
  ["trailing  ", "trailing", false, true],
  ["a+b(c).txt", "a+b(c).txt", false, true],
];

it.each(cases)("%j on %s (folder: %s): %s", (pattern, path, isFolder, outcome) => {
  expect(ignored(parseIgnore(pattern, ""), path, isFolder)).toBe(outcome);
});

it("reads an ignore file of a folder relative to that folder", () => {
  const rules = parseIgnore("/x\n*.tmp", "sub");
  expect(ignored(rules, "sub/x", false)).toBe(true);
  expect(ignored(rules, "x", false)).toBe(false);
  expect(ignored(rules, "sub/deep/a.tmp", false)).toBe(true);
  expect(ignored(rules, "a.tmp", false)).toBe(false);
});
