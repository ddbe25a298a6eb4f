/** BackendTLSPolicies by the Service ports they target. A policy for one port goes before one for all of them. */
import { X509Certificate } from 'node:crypto';
import type { BackendTlsSpec } from '../../upstream/spec.ts';
import type { BackendTlsPolicy, SubjectAltName } from '../model/backend-tls-policy.ts';
import type { ConfigMap } from '../model/config-map.ts';
import type { Catalog, Entry } from './catalog.ts';
import type { Traffic } from './traffic.ts';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
/** The key under which Gateway API expects the certificates. */
const CA_KEY = 'ca.crt';

export class BackendTlsPolicies {
  private readonly catalog: Catalog;
  private readonly byTarget = new Map<string, Entry<BackendTlsPolicy>>();
  private readonly certificates = new Map<Entry<BackendTlsPolicy>, string>();

  constructor(catalog: Catalog) {
    this.catalog = catalog;
    for (const entry of catalog.backendTlsPolicies) {
      this.certificates.set(entry, this.certificatesOf(entry));
      for (const [i, { name, sectionName }] of entry.value.spec.targetRefs.entries()) {
        const target = targetKey(`${entry.namespace}/${name}`, sectionName);
        const first = this.byTarget.get(target);
        if (first === undefined) {
          this.byTarget.set(target, entry);
        } else {
          const port = sectionName === undefined ? '' : ` (${sectionName})`;
          const message = `Service ${name}${port} already has the BackendTLSPolicy ${first.key} at ${first.place.where()}`;
          catalog.problems.push(entry.place.problem(['spec', 'targetRefs', i], message, 'keep one'));
        }
      }
    }
  }

  /** null: the port is not spoken to in TLS of its own. */
  ofPort(serviceKey: string, portName: string, traffic: Traffic): BackendTlsSpec | null {
    const narrow = portName === '' ? undefined : this.byTarget.get(targetKey(serviceKey, portName));
    const entry = narrow ?? this.byTarget.get(targetKey(serviceKey, undefined));
    if (entry === undefined) return null;
    const { hostname, subjectAltNames } = entry.value.spec.validation;
    return {
      source: entry.source(),
      serverName: hostname,
      certificates: this.certificates.get(entry) ?? '',
      // Gateway API: the host name counts for nothing but SNI where there are other names to check.
      names: subjectAltNames.length === 0 ? [{ type: 'Hostname', value: hostname }] : subjectAltNames.map(nameOf),
      clientCertificate: traffic.clientCertificate,
    };
  }

  /** PEM, text around the blocks left out; empty for the system's own. */
  private certificatesOf(entry: Entry<BackendTlsPolicy>): string {
    const { caCertificateRefs } = entry.value.spec.validation;
    return caCertificateRefs.map(({ name }, i) => this.certificatesIn(entry, name, i)).join('');
  }

  private certificatesIn(entry: Entry<BackendTlsPolicy>, name: string, index: number): string {
    const key = `${entry.namespace}/${name}`;
    const map = this.catalog.configMaps.get(key);
    if (map === undefined) {
      const path = ['spec', 'validation', 'caCertificateRefs', index];
      this.catalog.problems.push(
        entry.place.problem(path, `there is no ConfigMap ${key}`, 'put it into the folder too'),
      );
      return '';
    }
    return this.readCertificates(map, entry);
  }

  private readCertificates(map: Entry<ConfigMap>, reader: Entry<BackendTlsPolicy>): string {
    const text = map.value.data[CA_KEY];
    const complain = (path: string[], message: string): string => {
      const full = `${message}, which BackendTLSPolicy ${reader.key} needs`;
      this.catalog.problems.push(map.place.problem(path, full, 'CA certificates in PEM'));
      return '';
    };
    if (text === undefined) return complain(['data'], `has no ${CA_KEY}`);
    const blocks = text.match(CERTIFICATE) ?? [];
    if (blocks.length === 0) return complain(['data', CA_KEY], 'holds no PEM certificate');
    for (const [i, block] of blocks.entries()) {
      if (!isCa(block)) return complain(['data', CA_KEY], `certificate ${i + 1} is no readable CA certificate`);
    }
    return blocks.map((block) => `${block}\n`).join('');
  }
}

function isCa(block: string): boolean {
  try {
    return new X509Certificate(block).ca;
  } catch {
    return false;
  }
}

function nameOf(name: SubjectAltName): BackendTlsSpec['names'][number] {
  return name.type === 'URI' ? { type: 'URI', value: name.uri } : { type: 'Hostname', value: name.hostname };
}

function targetKey(serviceKey: string, section: string | undefined): string {
  return `${serviceKey} ${section ?? ''}`;
}
