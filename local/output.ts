/** What the local commands ask of the terminal they are given. */

export interface Output {
  /** The answer, on stdout. */
  out(line: string): void;
  /** Anything else, on stderr. */
  note(line: string): void;
  warn(line: string): void;
  json(value: unknown): void;
  /** A passing line of progress; nothing where nobody watches. */
  status(text: string | undefined): void;
}

export interface LocalContext {
  environment: NodeJS.ProcessEnv;
  output: Output;
}
