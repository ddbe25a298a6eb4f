/** Which source this workload's identity comes from: the platform's word first, then the flags. */
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import { systemRandom } from '../../shared/random.ts';
import { FilesSource } from './files.ts';
import type { IdentitySource } from './source.ts';

export interface SourceChoice {
  /** `SPIFFE_ENDPOINT_SOCKET`; empty without. */
  readonly workloadApi: string;
  /** `--ca`; null without. */
  readonly ca: string | null;
  /** `--ca-token`. */
  readonly caToken: string | null;
  /** `--certs`: the folder of the files, or of the `ca.crt` that the CA's own certificate is checked with. */
  readonly certs: string;
}

/** What only one source needs is loaded for it. */
export async function chooseSource(choice: SourceChoice, clock: Clock): Promise<IdentitySource> {
  if (choice.workloadApi !== '') {
    const { WorkloadApiSource } = await import('./workload-api.ts');
    return new WorkloadApiSource({ endpoint: choice.workloadApi, clock, random: systemRandom() });
  }
  if (choice.ca !== null) {
    const { CaSource } = await import('./ca.ts');
    const bundleFile = join(choice.certs, 'ca.crt');
    return new CaSource({ url: choice.ca, tokenFile: choice.caToken ?? '', bundleFile, clock, random: systemRandom() });
  }
  return new FilesSource(choice.certs, clock);
}
