/** Rows of plain values as aligned columns, for people; programs use --json. */

export type Row = Record<string, unknown>;

export function table(rows: readonly Row[], columns: readonly string[]): string[] {
  const cells = rows.map((row) => columns.map((column) => cell(row[column])));
  const widths = columns.map((column, index) =>
    Math.max(column.length, ...cells.map((line) => line[index]?.length ?? 0)),
  );
  const line = (values: readonly string[]): string =>
    values
      .map((value, index) => value.padEnd(widths[index] ?? 0))
      .join("  ")
      .trimEnd();
  return [line(columns.map((column) => column.toUpperCase())), ...cells.map(line)];
}

export function cell(value: unknown): string {
  if (value === undefined || value === null) return "-";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return value.map(cell).join(",");
  return Object.entries(value)
    .map(([key, part]) => `${key}=${cell(part)}`)
    .join(" ");
}

/** Lists come bare or under one key that names them: `{"apps": [...]}`. */
export function rowsOf(body: unknown): Row[] {
  if (Array.isArray(body))
    return body.map((item) => (typeof item === "object" && item !== null ? item : { name: item }));
  const list = body !== null && typeof body === "object" ? Object.values(body).find(Array.isArray) : undefined;
  return list ? rowsOf(list) : [];
}

export const bytes = (count: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), units.length - 1);
  return `${power === 0 ? count : (count / 1024 ** power).toFixed(1)} ${units[power]}`;
};

export const moment = (value: unknown): string => {
  if (typeof value !== "number" && typeof value !== "string") return "-";
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? String(value) : date.toISOString().replace("T", " ").slice(0, 19);
};
