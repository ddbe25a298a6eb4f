/** From policy files to a Snapshot, all or nothing. */
import { createHash } from 'node:crypto';
import type { Problem } from '../../shared/problem.ts';
import { Authorizations } from './compile/authorization.ts';
import { Catalog, compareText, type Self } from './compile/catalog.ts';
import { PeerModes } from './compile/peer-modes.ts';
import { compileServices } from './compile/services.ts';
import { compileTelemetry } from './compile/telemetry.ts';
import { type DecodedDocument, decodeFiles, type PolicyFile } from './decode.ts';
import type { MeshSpec, Snapshot } from './snapshot.ts';

export type { Self } from './compile/catalog.ts';

export interface Compiled {
  /** Null where any problem is an error. */
  readonly snapshot: Snapshot | null;
  /** By file, line and column. */
  readonly problems: readonly Problem[];
}

/** The files in any order give the same snapshot. */
export function compile(files: readonly PolicyFile[], self: Self): Compiled {
  const { documents, problems } = decodeFiles(files);
  return compileDocuments(documents, problems, self);
}

/** For a caller that decodes by itself, e.g. only the files that changed; `decodeProblems` are what it found. */
export function compileDocuments(
  documents: readonly DecodedDocument[],
  decodeProblems: readonly Problem[],
  self: Self,
): Compiled {
  const catalog = new Catalog(documents, self);
  const snapshot = assemble(catalog);
  const problems = [...decodeProblems, ...catalog.problems].sort(
    (a, b) => compareText(a.file, b.file) || a.line - b.line || a.column - b.column || compareText(a.path, b.path),
  );
  return { snapshot: problems.length === 0 ? snapshot : null, problems };
}

function assemble(catalog: Catalog): Snapshot {
  const { namespace, labels } = catalog.self;
  const authorizations = new Authorizations(catalog);
  const content = {
    mesh: compileMesh(catalog),
    ...compileServices(catalog),
    inbound: new PeerModes(catalog).of(namespace, labels),
    authorizations: authorizations.compile(),
    ownAuthorizations: authorizations.keysFor(namespace, labels),
    telemetry: compileTelemetry(catalog),
  };
  // Every object above is built with its fields in one order, so equal content is equal text.
  return { hash: createHash('sha256').update(JSON.stringify(content)).digest('hex'), ...content };
}

function compileMesh({ mesh, pathNormalization }: Catalog): MeshSpec {
  return {
    trustDomain: mesh.trustDomain,
    trustDomainAliases: mesh.trustDomainAliases,
    clusterDomain: mesh.clusterDomain,
    rootNamespace: mesh.rootNamespace,
    outboundTrafficPolicy: mesh.outboundTrafficPolicy.mode,
    pathNormalization,
    trustedForwarders: mesh.trustedForwarders,
  };
}
