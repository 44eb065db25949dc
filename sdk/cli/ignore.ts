/** Ignore files as git reads them: later rules win, `!` takes back, `/` anchors, `**` crosses folders. */

export interface IgnoreRule {
  pattern: RegExp;
  negated: boolean;
  foldersOnly: boolean;
}

/** @param folder where the ignore file lies, relative to the root; "" for the root. */
export function parseIgnore(text: string, folder: string): IgnoreRule[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const trimmed = line.replace(/(?<!\\)\s+$/, "");
    if (trimmed === "" || trimmed.startsWith("#")) return [];
    const negated = trimmed.startsWith("!");
    const body = negated ? trimmed.slice(1) : trimmed;
    const foldersOnly = body.endsWith("/");
    const glob = foldersOnly ? body.slice(0, -1) : body;
    return [{ negated, foldersOnly, pattern: toRegExp(glob, folder) }];
  });
}

/** A file below an ignored folder is never asked about: its folder is not entered, as in git. */
export function ignored(rules: readonly IgnoreRule[], path: string, isFolder: boolean): boolean {
  let outcome = false;
  for (const { pattern, negated, foldersOnly } of rules)
    if ((isFolder || !foldersOnly) && pattern.test(path)) outcome = !negated;
  return outcome;
}

function toRegExp(glob: string, folder: string): RegExp {
  const anchored = glob.includes("/");
  const body = glob.startsWith("/") ? glob.slice(1) : glob;
  const base = folder === "" ? "" : `${escapeText(folder)}/`;
  return new RegExp(`^${base}${anchored ? "" : "(?:.*/)?"}${translate(body)}$`);
}

function translate(glob: string): string {
  let out = "";
  for (let at = 0; at < glob.length; ) {
    const rest = glob.slice(at);
    const [text, length] = translateOne(rest, at === 0 || glob[at - 1] === "/");
    out += text;
    at += length;
  }
  return out;
}

/** @returns the regular expression of the first piece of the glob, and how many characters that piece has. */
function translateOne(rest: string, atPartStart: boolean): [string, number] {
  if (atPartStart && rest.startsWith("**/")) return ["(?:.*/)?", 3];
  if (atPartStart && rest === "**") return [".*", 2];
  if (rest[0] === "*") return ["[^/]*", /^\*+/.exec(rest)?.[0].length ?? 1];
  if (rest[0] === "?") return ["[^/]", 1];
  if (rest[0] === "\\" && rest.length > 1) return [escapeText(rest[1] ?? ""), 2];
  const set = /^\[(!|\^)?(\]?[^\]]*)\]/.exec(rest);
  if (set) return [`(?!/)[${set[1] ? "^" : ""}${(set[2] ?? "").replace(/[\\[\]]/g, "\\$&")}]`, set[0].length];
  return [escapeText(rest[0] ?? ""), 1];
}

const escapeText = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
