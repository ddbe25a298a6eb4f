/** Files of Kubernetes objects: where the pods in them are, and what changes in their text. */
import { isDeepStrictEqual } from 'node:util';
import { type Document, isMap, isNode, isPair, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml';
import { formatPath, type Path, type PointAt } from '../../proxy/config/place.ts';
import type { Complaint } from '../../proxy/config/wording.ts';
import { isObject, type JsonObject } from '../../shared/json.ts';
import type { Problem } from '../../shared/problem.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import { ejectPod, type InjectRecord, injectPod, RECORD_ANNOTATION, readRecord } from './inject.ts';
import { type PodTemplate, readPod } from './pod.ts';
import type { InjectDefaults } from './settings.ts';
import { applyEdits, type Edit, PARSING, Splice, Unspliceable } from './splice.ts';

/** Where a kind keeps the template of its pods. */
const TEMPLATES: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  PodTemplate: ['template'],
  Deployment: ['spec', 'template'],
  StatefulSet: ['spec', 'template'],
  DaemonSet: ['spec', 'template'],
  ReplicaSet: ['spec', 'template'],
  ReplicationController: ['spec', 'template'],
  Job: ['spec', 'template'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template'],
};

const KINDLESS: Complaint = {
  path: ['kind'],
  message: 'is required',
  advice: 'a List names none for its items',
  at: 'value',
};

export interface EditedText {
  readonly text: string;
  /** What became of each pod, one line each: `Deployment shop/cart: injected`. */
  readonly notes: readonly string[];
}

/** The text with a sidecar in every pod that may have one. Pods that have one already are made anew. */
export function injectText(file: string, text: string, defaults: InjectDefaults): Result<EditedText, Problem[]> {
  const clean = editText(file, text, (template) => ok({ template: ejectPod(template), note: '' }));
  if (!clean.ok) return clean;
  return editText(file, clean.value.text, (template) => {
    const injection = injectPod(template, defaults);
    if (!injection.ok) return injection;
    const { value } = injection;
    const note = value.kind === 'left alone' ? `left alone: ${value.why}` : ['injected', ...value.notes].join('; ');
    return ok({ template: value.template, note });
  });
}

/** The text as it was before `injectText`. */
export function ejectText(file: string, text: string): Result<EditedText, Problem[]> {
  return editText(file, text, (template) => {
    const ejected = ejectPod(template);
    return ok({ template: ejected, note: ejected === template ? 'not injected' : 'sidecar removed' });
  });
}

type Change = (template: PodTemplate) => Result<{ readonly template: PodTemplate; readonly note: string }, Complaint[]>;

interface Place {
  readonly node: Node;
  readonly value: unknown;
  readonly path: Path;
  readonly subject: string;
  /** Why nobody can say whether a pod is here. */
  readonly wrong: Complaint | null;
}

function editText(file: string, text: string, change: Change): Result<EditedText, Problem[]> {
  const lines = new LineCounter();
  const documents = parse(text, lines);
  const problems: Problem[] = [];
  const problemAt = (offset: number, path: Path, message: string, advice = ''): Problem => {
    const { line, col } = lines.linePos(offset);
    return { severity: 'error', file, line, column: col, path: formatPath(path), message, advice };
  };
  for (const { errors } of documents) {
    for (const error of errors) problems.push(problemAt(error.pos[0], [], error.message.split('\n')[0] as string));
  }
  if (problems.length > 0) return err(problems);

  const notes: string[] = [];
  const expected: PodTemplate[] = [];
  const edits: Edit[] = [];
  for (const place of documents.flatMap(placesOf)) {
    const read = place.wrong === null ? readPod(place.value) : err([place.wrong]);
    const changed = read.ok ? change(read.value) : read;
    if (!changed.ok) {
      for (const { path, message, advice, at } of changed.error) {
        problems.push(problemAt(offsetOf(place.node, path, at), [...place.path, ...path], message, advice));
      }
      continue;
    }
    const { template, note } = changed.value;
    if (note !== '') notes.push(`${place.subject}: ${note}`);
    try {
      const spliced = spliceTemplate(text, place, template);
      edits.push(...spliced.edits);
      expected.push(spliced.template);
    } catch (error) {
      if (!(error instanceof Unspliceable)) throw error;
      problems.push(problemAt(error.offset, place.path, error.message));
    }
  }
  if (problems.length > 0) return err(problems);
  const edited = applyEdits(text, edits);
  const result = parse(edited, new LineCounter());
  const places = result.every(({ errors }) => errors.length === 0) ? result.flatMap(placesOf) : [];
  const wrong = expected.findIndex((template, i) => !isDeepStrictEqual(places[i]?.value, template));
  if (wrong < 0) return ok({ text: edited, notes });
  return err([
    problemAt(0, [], 'is written in a way that cannot be changed in place; write anchors and merge keys out'),
  ]);
}

/** The edits of one template; a text that goes with a replaced value is kept in the record, to be put back as it was. */
function spliceTemplate(
  source: string,
  { node, value }: Place,
  after: PodTemplate,
): { readonly edits: Splice['edits']; readonly template: PodTemplate } {
  const before = value as PodTemplate;
  const record = readRecord(before);
  const splice = new Splice(source, record.texts);
  splice.change(node, before, after);
  if (after.metadata?.annotations?.[RECORD_ANNOTATION] === undefined || Object.keys(splice.replaced).length === 0)
    return { edits: splice.edits, template: after };
  const kept = withTexts(after, splice.replaced);
  const again = new Splice(source);
  again.change(node, before, kept);
  return { edits: again.edits, template: kept };
}

function withTexts(template: PodTemplate, texts: Readonly<Record<string, string>>): PodTemplate {
  const annotations = template.metadata?.annotations ?? {};
  const record: InjectRecord = { ...readRecord(template), texts };
  return {
    ...template,
    metadata: { ...template.metadata, annotations: { ...annotations, [RECORD_ANNOTATION]: JSON.stringify(record) } },
  };
}

function parse(text: string, lineCounter: LineCounter): Document.Parsed[] {
  const parsed = parseAllDocuments(text, { ...PARSING, lineCounter });
  return [...parsed] as Document.Parsed[];
}

/** Every pod and pod template of a document, those of a List included, in the order of the text. */
function placesOf(document: Document.Parsed): Place[] {
  const value: unknown = document.toJS();
  return document.contents === null ? [] : placesIn(document.contents, value, []);
}

/** `inherited`: the kind of what says none itself; null outside of lists. */
function placesIn(node: Node, value: unknown, path: Path, inherited: string | null = null): Place[] {
  if (!isMap(node) || !isObject(value)) return [];
  const own = value['kind'] ?? null;
  const kind = own ?? inherited;
  if (typeof kind !== 'string') return [];
  if (own === null && kind === '') return [{ node, value, path, subject: '', wrong: KINDLESS }];
  const items = node.get('items', true) as unknown;
  if (kind.endsWith('List') && isSeq(items)) {
    const values = value['items'] as unknown[];
    // As in apimachinery (UnstructuredJSONScheme): the items of a DeploymentList are Deployments, those of a List nothing.
    const kindOfItems = kind.slice(0, -'List'.length);
    return items.items.flatMap((item, i) => placesIn(item as Node, values[i], [...path, 'items', i], kindOfItems));
  }
  const steps = Object.hasOwn(TEMPLATES, kind) ? TEMPLATES[kind] : undefined;
  if (steps === undefined) return [];
  const template = steps.length === 0 ? node : (node.getIn(steps, true) as Node | undefined);
  if (template === undefined) return [];
  const inner = steps.reduce<unknown>((at, step) => (isObject(at) ? at[step] : undefined), value);
  return [{ node: template, value: inner, path: [...path, ...steps], subject: subjectOf(kind, value), wrong: null }];
}

/** Where in the text the value at `path` begins, or its key; if it is absent, the nearest one around it. */
function offsetOf(node: Node, path: Path, at: PointAt): number {
  let found: Node = node;
  let key: unknown = node;
  for (const step of path) {
    const entries: readonly unknown[] = isMap(found) || isSeq(found) ? found.items : [];
    const entry = isSeq(found) ? entries[Number(step)] : entries.find((each) => isPair(each) && isKey(each.key, step));
    const next = isPair(entry) ? entry.value : entry;
    if (!isNode(next)) break;
    key = isPair(entry) ? entry.key : next;
    found = next;
  }
  const pointed = at === 'key' && isNode(key) ? key : found;
  return pointed.range?.[0] ?? 0;
}

function isKey(key: unknown, step: PropertyKey): boolean {
  return isScalar(key) && String(key.value) === step;
}

function subjectOf(kind: string, value: JsonObject): string {
  const metadata = isObject(value['metadata']) ? value['metadata'] : {};
  const text = (key: string): string => (typeof metadata[key] === 'string' ? metadata[key] : '');
  const shown = text('name') || text('generateName') || '(no name)';
  return `${kind} ${text('namespace') === '' ? '' : `${text('namespace')}/`}${shown}`;
}
