/** Programs from Debian packages that tests run as peers: found, or installed by the first test that misses one. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { isInstalled, runProgram } from './process.ts';
import { ROOT } from './weft.ts';

const CACHE = join(ROOT, '.cache/debian');
const POSTGRES = '/usr/lib/postgresql';

/** What each package brings that tells it is there: a program, or a path (from the top folder). */
const PACKAGES = {
  curl: 'curl',
  iproute2: 'ip',
  iptables: 'iptables',
  'mariadb-client-core': 'mariadb',
  'mariadb-server-core': 'mariadbd',
  nftables: 'nft',
  nginx: 'nginx',
  // Only unpacked: installed it would bring Debian's own Node along.
  'node-ws': '.cache/debian/node-ws/usr/share/nodejs/ws/index.js',
  'openssh-client': 'ssh',
  'openssh-server': 'sshd',
  postgresql: 'postgres',
  'python3-aiosmtpd': '/usr/lib/python3/dist-packages/aiosmtpd',
  'redis-server': 'redis-server',
  tcpdump: 'tcpdump',
} as const;

export type DebianPackage = keyof typeof PACKAGES;

/** The npm package `ws`. */
export const NODE_WS: string = join(ROOT, PACKAGES['node-ws']);

/** Longest of an installation, on a machine that has none of them and a slow mirror. */
export const INSTALL_TIMEOUT_MS = 300_000;
/** Held during an installation, for test files run side by side. */
const LOCK = join(tmpdir(), 'weft-apt.lock');

/**
 * Installs with no service started, whatever else the machine does with the services of its packages. An image without
 * package lists says so by failing at once, so the lists are fetched only then.
 */
const INSTALL = `set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > $policy
  chmod 755 $policy
fi
install() { apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"; }
install "$@" || { apt-get update -q; install "$@"; }`;

const UNPACK = `set -e
cd "$1"
apt-get download -q "$2" || { apt-get update -q; apt-get download -q "$2"; }
dpkg -x "$2"_*.deb "$2"
rm "$2"_*.deb`;

/**
 * Null when all of these packages are there, else why not. As root, whatever of the whole table is missing is
 * installed in one go: one run of apt instead of one for each test file.
 */
export async function lacking(...packages: readonly DebianPackage[]): Promise<string | null> {
  await underWay();
  if (packages.every(isThere)) return null;
  const failure = await install((Object.keys(PACKAGES) as DebianPackage[]).filter((name) => !isThere(name)));
  const still = packages.filter((name) => !isThere(name));
  return still.length === 0 ? null : `not installed: ${still.join(', ')} (${failure ?? 'apt-get left it out'})`;
}

/** A program of PostgreSQL, which Debian keeps out of PATH, of the newest version; undefined where there is none. */
export function postgresProgram(name: string): string | undefined {
  if (!existsSync(POSTGRES)) return undefined;
  const versions = readdirSync(POSTGRES).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(POSTGRES, version, 'bin', name)).find(existsSync);
}

function isThere(name: DebianPackage): boolean {
  const proof = PACKAGES[name];
  if (name === 'postgresql') return postgresProgram(proof) !== undefined;
  return proof.includes('/') ? existsSync(resolve(ROOT, proof)) : isInstalled(proof);
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Waits for the end of an installation that another test file has begun: half of one looks whole. */
async function underWay(): Promise<void> {
  if (isRoot() && existsSync(LOCK)) await runProgram({ command: 'flock', args: [LOCK, 'true'] }, INSTALL_TIMEOUT_MS);
}

/** Null when it went well, else why not, in one line. */
async function install(packages: readonly DebianPackage[]): Promise<string | null> {
  if (!isInstalled('apt-get')) return 'there is no apt-get here';
  if (!isRoot()) return 'only root may install it';
  const installed = packages.filter((name) => name !== 'node-ws');
  try {
    if (installed.length > 0) await locked(INSTALL, installed);
    if (packages.includes('node-ws')) {
      mkdirSync(CACHE, { recursive: true });
      await locked(UNPACK, [CACHE, 'node-ws']);
    }
    return null;
  } catch (error) {
    return String(error).trimEnd().split('\n').at(-1) ?? '';
  }
}

async function locked(script: string, args: readonly string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await runProgram({ command: 'flock', args: [LOCK, 'sh', '-c', script, 'sh', ...args], env }, INSTALL_TIMEOUT_MS);
}
