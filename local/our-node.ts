/** How another process of ours is run: the same Node, with tsx, found from fabric's folder and not from where the user stands. */

export const ourNode = (root: string): { command: string; args: string[]; root: string } => ({
  command: process.execPath,
  args: ["--import", import.meta.resolve("tsx")],
  root,
});
