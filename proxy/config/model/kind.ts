/** What a kind of policy document is to the decoder: its name, its schema, and which fields it may carry unread. */
import type { z } from 'zod';

/** Where a document was written; makes references and problems that point into it. */
export interface Place {
  /** Where the field at `path` stands; the nearest field around it if it is absent. */
  line(path: readonly PropertyKey[]): { readonly line: number; readonly column: number };
}

export interface Metadata {
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** What every document has besides its own fields. */
export interface Envelope {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Metadata;
}

/** One line of the registry in kinds.ts. `T` is the document after validation: defaults filled in, durations in ms. */
export interface Kind<T extends Envelope> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly schema: z.ZodType<T>;
}
