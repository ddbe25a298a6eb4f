/** Certificates that every proxy of a run shares: one root, P-256 leaves with SPIFFE IDs in namespace `default`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestCa, writeIdentity } from '../support/certificates.ts';

/** Makes `folder/NAME/{tls.crt,tls.key,ca.crt,both.pem}` for each service account; `both.pem` is what HAProxy reads. */
export function issueWorkloads(folder: string, names: readonly string[]): void {
  const ca = new TestCa('weft bench');
  for (const name of names) {
    const identity = ca.identity(`default/${name}`, { dnsNames: [`${name}.default.svc`] });
    writeIdentity(join(folder, name), identity);
    writeFileSync(join(folder, name, 'both.pem'), identity.certificateChain + identity.privateKey, { mode: 0o600 });
  }
}
