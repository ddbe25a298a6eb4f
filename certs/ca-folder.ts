/**
 * A CA in a folder: `ca.crt` (the issuing certificate, then the intermediates above it), `ca.key` (0600) and, for an
 * intermediate, `root.crt` (what the mesh trusts).
 */
import { chmod, lstat, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../shared/error-code.ts';
import { err, ok, type Result } from '../shared/result.ts';
import { type Authority, type IssuedLeaf, loadAuthority } from './issue.ts';

const PRIVATE = 0o600;
const PUBLIC = 0o644;

/** Writes a new CA. Never over an old one: its key could not be made again. The error is a sentence. */
export async function writeAuthority(dir: string, authority: Authority): Promise<Result<null, string>> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await writeFile(join(dir, 'ca.key'), authority.privateKey, { flag: 'wx', mode: PRIVATE });
    await writeFile(join(dir, 'ca.crt'), authority.certificate + withoutFirst(authority), { mode: PUBLIC });
    if (authority.chain !== '') await writeFile(join(dir, 'root.crt'), authority.trustBundle, { mode: PUBLIC });
    return ok(null);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return err(`${dir} already holds a CA (ca.key), which is not overwritten`);
    return err(`${dir} cannot be written (${codeOf(error) ?? String(error)})`);
  }
}

/** Reads a CA, one that another program made too. The error is a sentence. */
export async function readAuthority(dir: string): Promise<Result<Authority, string>> {
  try {
    const certificate = await readFile(join(dir, 'ca.crt'), 'utf8');
    const key = await readFile(join(dir, 'ca.key'), 'utf8');
    const root = await readIfThere(join(dir, 'root.crt'));
    const loaded = loadAuthority(certificate, key, root ?? certificate);
    return loaded.ok ? loaded : err(`${dir}: ${loaded.error}`);
  } catch (error) {
    return err(
      `${dir} holds no CA that can be read (${codeOf(error) ?? String(error)}): weft ca init ${dir} makes one`,
    );
  }
}

/** Is there the key of a CA? A workload's `ca.crt` must not come where a CA has its own. */
export async function holdsAuthority(dir: string): Promise<boolean> {
  try {
    await lstat(join(dir, 'ca.key'));
    return true;
  } catch {
    // What cannot be looked at cannot be written either, and writing says why.
    return false;
  }
}

/**
 * Writes `tls.crt`, `tls.key` (0600) and `ca.crt`, each by rename, so that a sidecar which watches the folder never sees
 * half a file. The error is a sentence.
 */
export async function writeWorkload(dir: string, leaf: IssuedLeaf): Promise<Result<null, string>> {
  const files: readonly [string, string, number][] = [
    ['tls.key', leaf.privateKey, PRIVATE],
    ['tls.crt', leaf.certificateChain, PUBLIC],
    ['ca.crt', leaf.trustBundle, PUBLIC],
  ];
  try {
    await mkdir(dir, { recursive: true });
    for (const [name, text, mode] of files) {
      await writeFile(join(dir, `.${name}.new`), text, { mode });
      // `mode` counts only for a new file, and a broken earlier run may have left one.
      await chmod(join(dir, `.${name}.new`), mode);
    }
    for (const [name] of files) await rename(join(dir, `.${name}.new`), join(dir, name));
    return ok(null);
  } catch (error) {
    return err(`${dir} cannot be written (${codeOf(error) ?? String(error)})`);
  }
}

/** The chain begins with the CA's own certificate, unless it is a root. */
function withoutFirst(authority: Authority): string {
  return authority.chain.slice(authority.certificate.length);
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}
