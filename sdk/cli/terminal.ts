/** What commands print and how: answers on stdout, everything else on stderr, colour and progress only for people. */

export type Paint = (text: string) => string;

export interface Terminal {
  out(line: string): void;
  /** Text as it is, without a line end of ours. */
  write(text: string): void;
  note(line: string): void;
  warn(line: string): void;
  json(value: unknown): void;
  /** A passing line of progress; nothing where nobody watches. */
  status(text: string | undefined): void;
  /** stderr is a terminal. */
  interactive: boolean;
  paint: Record<"dim" | "bold" | "red" | "green" | "yellow", Paint>;
}

export interface Stream {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

const SPINNER = ["|", "/", "-", "\\"];
const ESC = "\u001b[";

export function terminal(stdout: Stream, stderr: Stream, environment: NodeJS.ProcessEnv): Terminal {
  const interactive = stderr.isTTY === true && environment.TERM !== "dumb";
  const colour = interactive && stdout.isTTY === true && !environment.NO_COLOR;
  const code =
    (number: number): Paint =>
    (text) =>
      colour ? `${ESC}${number}m${text}${ESC}0m` : text;
  const paint = { dim: code(2), bold: code(1), red: code(31), green: code(32), yellow: code(33) };
  const spinner = interactive ? spin(stderr) : undefined;
  const above = (write: () => void): void => {
    spinner?.clear();
    write();
    spinner?.draw();
  };
  return {
    interactive,
    paint,
    out: (line) => above(() => stdout.write(`${line}\n`)),
    write: (text) => above(() => stdout.write(text)),
    note: (line) => above(() => stderr.write(`${line}\n`)),
    warn: (line) => above(() => stderr.write(`${paint.yellow("warning:")} ${line}\n`)),
    json: (value) => above(() => stdout.write(`${JSON.stringify(value, null, 2)}\n`)),
    status: (text) => spinner?.show(text),
  };
}

function spin(stderr: Stream): { show(text: string | undefined): void; clear(): void; draw(): void } {
  let text: string | undefined;
  let since = 0;
  let timer: NodeJS.Timeout | undefined;
  const clear = (): void => void (text !== undefined && stderr.write(`\r${ESC}K`));
  const draw = (): void => {
    if (text === undefined) return;
    const elapsed = performance.now() - since;
    const mark = SPINNER[Math.floor(elapsed / 120) % SPINNER.length];
    const line = `${mark} ${text} ${(elapsed / 1000).toFixed(0)}s`;
    stderr.write(`\r${ESC}K${line.slice(0, (stderr.columns ?? 80) - 1)}`);
  };
  return {
    clear,
    draw,
    show(next) {
      clear();
      clearInterval(timer);
      text = next;
      since = performance.now();
      if (text === undefined) return;
      timer = setInterval(draw, 120);
      timer.unref();
      draw();
    },
  };
}
