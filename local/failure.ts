/** A failure of `fabric up`, `down` or `doctor` that a person can act on: what happened, and what to do about it. */

export class LocalFailure extends Error {
  override readonly name = "LocalFailure";
  constructor(
    message: string,
    readonly hint?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Is this the error of a system call that ended with one of these codes? */
export const hasCode = (thrown: unknown, ...codes: string[]): boolean =>
  thrown instanceof Error && "code" in thrown && codes.includes(String(thrown.code));
