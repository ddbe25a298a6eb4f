/** A TLS 1.3 caller that shares no code with the program under test: `openssl s_client` of the host. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { certificatesOf } from '../../certs/identity-pem.ts';
import type { KeyedCertificate } from './certificates.ts';
import type { Folder } from './policy.ts';
import { isInstalled } from './process.ts';
import { skip } from './skips.ts';

export interface Call {
  readonly port: number;
  /** null: no certificate is presented. */
  readonly credentials: KeyedCertificate | null;
  /** Sent when the handshake is done. */
  readonly request: string;
  /** Offers the session that was saved here before. */
  readonly resume?: string;
  /** Saves the session here. */
  readonly save?: string;
}

export interface Heard {
  readonly output: string;
  /** By the far side, as `s_client` saw it. */
  readonly resumed: boolean;
}

const TIMEOUT_MS = 10_000;

/** Writes credentials into a folder and calls from there. */
export class OpenSsl {
  private readonly folder: Folder;
  private files = 0;

  constructor(folder: Folder) {
    this.folder = folder;
  }

  /** Calls, sends, and listens until the far side ends the connection. */
  async call({ port, credentials, request, resume, save }: Call): Promise<Heard> {
    if (!isInstalled('openssl')) skip('openssl is not installed');
    const flags = ['-connect', `127.0.0.1:${port}`, '-tls1_3', '-alpn', 'istio-http/1.1', '-ign_eof'];
    // A bad peer may hold a key that OpenSSL would not let an honest one use.
    flags.push('-cipher', 'DEFAULT@SECLEVEL=0');
    if (credentials !== null) flags.push(...this.present(credentials));
    if (resume !== undefined) flags.push('-sess_in', join(this.folder.path, resume));
    if (save !== undefined) flags.push('-sess_out', join(this.folder.path, save));
    const child = spawn('openssl', ['s_client', ...flags]);
    const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('latin1')));
    child.stdin.on('error', () => {});
    child.stdin.write(request);
    const [code] = (await once(child, 'close')) as [number | null];
    clearTimeout(timer);
    if (code === null) throw new Error(`openssl did not end:\n${output}`);
    return { output, resumed: output.includes('\nReused, TLSv1.3') };
  }

  private present({ certificate, key }: KeyedCertificate): string[] {
    const name = `peer-${this.files++}`;
    const [leaf, ...rest] = certificatesOf(certificate) ?? [];
    if (leaf === undefined) throw new Error('no certificate to present');
    const chain = rest.map((each) => each.toString()).join('');
    const flags = ['-cert', this.folder.write(`${name}.crt`, leaf.toString())];
    flags.push('-key', this.folder.write(`${name}.key`, key));
    if (chain !== '') flags.push('-cert_chain', this.folder.write(`${name}.chain`, chain));
    return flags;
  }
}
