/**
 * Whether the application still has sockets, as the pod's network namespace shows them: /proc/net/tcp and tcp6 name the user of
 * each (proc(5)), and weft's own user is nobody else's (deploy/inject refuses it).
 */
import { readFileSync } from 'node:fs';

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'] as const;
/** Columns of a line, from 0. */
const UID = 7;
const INODE = 9;

/** TCP sockets, listening ones included, that belong to a process of another user than `uid`. */
export function socketsOfOthers(uid: number, read: (file: string) => string = readTable): number {
  return TABLES.map((file) => foreign(read(file), uid)).reduce((sum, count) => sum + count, 0);
}

function foreign(table: string, uid: number): number {
  return (
    table
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields.length > INODE)
      // Without an inode no process has it any more: TIME_WAIT, or what the kernel still sends.
      .filter((fields) => fields[INODE] !== '0' && Number(fields[UID]) !== uid).length
  );
}

/** A host without IPv6 has no table of it. */
function readTable(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
