/** The shell script around every process container; it outlives the runner and writes down how the process ended. */

/**
 * Arguments: state folder, memory limit in KiB or "", then the command. All user strings are positional arguments.
 * - `pid` gets "<pid> <start time>", so that a later runner can tell this process from another with a reused pid.
 * - The traps keep the shell alive through a SIGTERM for the group; the command starts with default handlers again.
 * - `exit` appears by rename, whole or not at all; then whatever the command left running in the group is ended.
 */
export const WRAPPER = `
state=$1 limit=$2
shift 2
started() {
  [ -r /proc/self/stat ] || return 0
  read -r line < /proc/$1/stat
  set -- \${line##*) }
  printf %s "\${20}"
}
trap : TERM INT HUP QUIT
printf '%s %s\\n' $$ "$(started $$)" > "$state/pid"
( [ -z "$limit" ] || ulimit -v "$limit"; ulimit -c 0; exec "$@" )
printf '%s\\n' $? > "$state/exit.new"
mv "$state/exit.new" "$state/exit"
kill -KILL 0
`;
