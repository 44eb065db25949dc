/** Reads a reply of one JSON value per line as it arrives; blank lines are heartbeats. */
import { fail } from "../../core/errors.ts";

export async function* ndjson<T>(response: Response): AsyncGenerator<T> {
  for await (const line of textLines(response)) {
    if (line.trim() === "") continue;
    yield parseLine<T>(line);
  }
}

function parseLine<T>(line: string): T {
  try {
    return JSON.parse(line) as T;
  } catch (error) {
    return fail("internal", `the gateway sent a line that is not JSON: ${line.slice(0, 200)}`, undefined, {
      cause: error,
    });
  }
}

async function* textLines(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body ?? []) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}
