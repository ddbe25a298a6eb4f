/** Servers that refuse to be root: run as `nobody` where the tests are, else as whoever runs the tests. */
import { chownSync } from 'node:fs';
import { Folder } from './policy.ts';
import type { ProgramOptions } from './process.ts';

/** Debian's `nobody` and `nogroup`. */
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

export function unprivileged(options: ProgramOptions): ProgramOptions {
  if (!isRoot) return options;
  const who = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--no-new-privs'];
  return { ...options, command: 'setpriv', args: [...who, options.command, ...(options.args ?? [])] };
}

/** A folder that such a server may write into, and nobody else but root. Whoever made it removes it. */
export function unprivilegedFolder(prefix: string): Folder {
  const folder = new Folder(prefix);
  giveAway(folder.path);
  return folder;
}

/** Hands a file or folder over to such a server. */
export function giveAway(path: string): void {
  if (isRoot) chownSync(path, NOBODY, NOBODY);
}
