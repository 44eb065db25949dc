/** The commands about this machine, for the `fabric` program: each is looked up by name and loaded when it is called. */
import type { LocalContext } from "./output.ts";
import type { LocalOptions } from "./settings.ts";

/** Answers whether all is well, where the command asks a question (`doctor`, `status`). */
export type LocalCommand = (options: LocalOptions & { json?: boolean }, context: LocalContext) => Promise<boolean>;

export const localCommands: Record<"up" | "down" | "env" | "status" | "doctor", LocalCommand> = {
  async up(options, context) {
    await (await import("./up.ts")).up(options, context);
    return true;
  },
  async down(options, context) {
    await (await import("./down.ts")).down(options, context);
    return true;
  },
  async env(options, context) {
    await (await import("./status.ts")).env(options, context);
    return true;
  },
  status: async (options, context) => (await import("./status.ts")).status(options, context),
  doctor: async (options, context) => (await import("./doctor/doctor.ts")).doctor(options, context),
};
