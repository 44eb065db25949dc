/** How the person at this terminal calls fabric, for lines that they paste. */

export const commandName = (environment: NodeJS.ProcessEnv): string =>
  environment.npm_command === "exec" ? "npx fabric" : "fabric";
