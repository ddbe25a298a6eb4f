/** Other Nodes on this machine than the pinned one: what an old runtime is told can only be seen on an old runtime. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface HostNode {
  readonly path: string;
  /** Major and minor version. */
  readonly version: readonly [number, number];
}

/** The Nodes on PATH outside of node_modules that are older than the one that runs this, in PATH's order. */
export function olderNodes(): HostNode[] {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
  return folders
    .map((folder) => join(folder, 'node'))
    .filter((path) => existsSync(path))
    .map((path) => ({ path, version: versionOf(execFileSync(path, ['--version'], { encoding: 'utf8' })) }))
    .filter(({ version }) => isOlder(version, versionOf(process.version)));
}

/** The flags with which this Node runs TypeScript; null if it cannot. */
export function stripFlags({ version }: HostNode): string[] | null {
  if (!isOlder(version, [23, 6]) || (version[0] === 22 && version[1] >= 18)) return [];
  return isOlder(version, [22, 6]) ? null : ['--experimental-strip-types'];
}

function versionOf(text: string): [number, number] {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(text) ?? [];
  return [Number(major), Number(minor)];
}

function isOlder(a: readonly [number, number], b: readonly [number, number]): boolean {
  return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
}
