/** The little XML that S3 speaks: written from nested values, read into a tree without DTDs or entities of its own. */
import { refuse } from "./errors.ts";

const NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/";

export type XmlValue = string | number | boolean | undefined | XmlFields;
export interface XmlFields {
  [name: string]: XmlValue | XmlValue[];
}

export function toXml(root: string, fields: XmlFields, { namespace = true } = {}): string {
  const open = namespace ? `<${root} xmlns="${NAMESPACE}">` : `<${root}>`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n${open}${inner(fields)}</${root}>`;
}

function inner(fields: XmlFields): string {
  let text = "";
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one === undefined) continue;
      text += `<${name}>${typeof one === "object" ? inner(one) : escapeXml(String(one))}</${name}>`;
    }
  }
  return text;
}

const escapeXml = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: keys may hold them, and XML text may not
  text.replace(/[&<>"\u0000-\u001f\u007f\ufffe\uffff]/g, (char) =>
    char === "&"
      ? "&amp;"
      : char === "<"
        ? "&lt;"
        : char === ">"
          ? "&gt;"
          : char === '"'
            ? "&quot;"
            : `&#x${char.charCodeAt(0).toString(16)};`,
  );

export interface XmlNode {
  name: string;
  text: string;
  children: XmlNode[];
}

const TOKEN =
  /<\?[^>]*\?>|<!--[\s\S]*?-->|<!\[CDATA\[([\s\S]*?)\]\]>|<(\/?)([A-Za-z_][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>|([^<]+)/gy;
const MAX_DEPTH = 10;

export function parseXml(source: string): XmlNode {
  const top: XmlNode = { name: "", text: "", children: [] };
  const stack = [top];
  TOKEN.lastIndex = 0;
  const text = source.replace(/^\uFEFF/, "");
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) return malformed();
    const [, cdata, closing, rawName, , selfClosing, chars] = match;
    const here = stack.at(-1)!;
    if (cdata !== undefined) here.text += cdata;
    else if (chars !== undefined) here.text += unescapeXml(chars);
    else if (rawName !== undefined) {
      const name = rawName.slice(rawName.indexOf(":") + 1);
      if (closing) {
        if (stack.length === 1 || here.name !== name) return malformed();
        stack.pop();
        continue;
      }
      const node: XmlNode = { name, text: "", children: [] };
      here.children.push(node);
      if (!selfClosing) stack.push(node);
      if (stack.length > MAX_DEPTH) return malformed();
    }
  }
  if (stack.length !== 1 || top.children.length !== 1) return malformed();
  return top.children[0]!;
}

const malformed = (): never => refuse("MalformedXML", "The XML you provided was not well-formed.");

const NAMED: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(/&(#x[0-9a-fA-F]{1,6}|#[0-9]{1,7}|[a-z]+);|&/g, (_, body?: string) => {
    if (body === undefined) return malformed();
    if (!body.startsWith("#")) return NAMED[body] ?? malformed();
    const point = body[1] === "x" ? Number.parseInt(body.slice(2), 16) : Number(body.slice(1));
    return point <= 0x10ffff ? String.fromCodePoint(point) : malformed();
  });
}

export const childText = (node: XmlNode, name: string): string | undefined =>
  node.children.find((child) => child.name === name)?.text;

export const childrenNamed = (node: XmlNode, name: string): XmlNode[] =>
  node.children.filter((child) => child.name === name);
