/** An ordinary CA and server certificates, made by the host's `openssl`: no code of the program under test is in them. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Folder } from './policy.ts';
import { isInstalled } from './process.ts';
import { skip } from './skips.ts';

export interface Credentials {
  /** PEM. */
  readonly certificate: string;
  readonly key: string;
  /** Where both stand. */
  readonly certificateFile: string;
  readonly keyFile: string;
}

export class OpenSslCa {
  /** PEM. */
  readonly certificate: string;
  private readonly folder: Folder;
  private readonly name: string;
  private issued = 0;

  /** Its files are `NAME.crt` and `NAME.key` in the folder. */
  constructor(folder: Folder, name: string) {
    if (!isInstalled('openssl')) skip('openssl is not installed');
    this.folder = folder;
    this.name = name;
    this.makeKey(name);
    const extensions = ['-addext', 'basicConstraints=critical,CA:TRUE'];
    this.run(
      'req',
      '-x509',
      '-new',
      '-key',
      `${name}.key`,
      '-subj',
      `/CN=${name}`,
      ...extensions,
      '-out',
      `${name}.crt`,
    );
    this.certificate = this.read(`${name}.crt`);
  }

  /** `names` as openssl has them, e.g. `DNS:a.example`; `days` from now, negative: long over. */
  issue(names: readonly string[], days = 1): Credentials {
    const name = `${this.name}-${this.issued++}`;
    this.makeKey(name);
    const san = names.length === 0 ? [] : ['-addext', `subjectAltName=${names.join(',')}`];
    this.run('req', '-new', '-key', `${name}.key`, '-subj', '/CN=leaf', ...san, '-out', `${name}.csr`);
    const signer = ['-CA', `${this.name}.crt`, '-CAkey', `${this.name}.key`, '-CAcreateserial'];
    const form = ['-days', String(days), '-copy_extensions', 'copyall'];
    this.run('x509', '-req', '-in', `${name}.csr`, ...signer, ...form, '-out', `${name}.crt`);
    const [certificateFile, keyFile] = [`${name}.crt`, `${name}.key`].map((file) => join(this.folder.path, file));
    return {
      certificate: this.read(`${name}.crt`),
      key: this.read(`${name}.key`),
      certificateFile: certificateFile as string,
      keyFile: keyFile as string,
    };
  }

  private makeKey(name: string): void {
    this.run('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
  }

  private run(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.folder.path, stdio: 'pipe' });
  }

  private read(file: string): string {
    return readFileSync(join(this.folder.path, file), 'utf8');
  }
}
