/** One AdmissionReview (admission.k8s.io/v1) answered: a pod that is being made gets its sidecar as a JSON patch. */
import { formatComplaint } from '../../proxy/config/wording.ts';
import { isObject } from '../../shared/json.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import { injectPod } from '../inject/inject.ts';
import { readPod } from '../inject/pod.ts';
import type { InjectDefaults } from '../inject/settings.ts';
import { jsonPatch } from './patch.ts';

export interface Reviewed {
  /** JSON to answer with. */
  readonly answer: object;
  /** For the log: which pod, and what became of it. */
  readonly pod: string;
  readonly outcome: 'injected' | 'unchanged' | 'left alone' | 'refused';
  readonly detail: string;
}

interface ReviewRequest {
  readonly uid: string;
  readonly namespace: string;
  readonly resource: string;
  readonly operation: string;
  readonly object: unknown;
}

const API_VERSION = 'admission.k8s.io/v1';
const KIND = 'AdmissionReview';

/** The error is a sentence: the body is no review, and whoever sent it is no API server. */
export function review(body: string, defaults: InjectDefaults): Result<Reviewed, string> {
  const request = readRequest(body);
  if (!request.ok) return request;
  const { uid, namespace, resource, operation, object } = request.value;
  const answer = (response: object): object => ({
    apiVersion: API_VERSION,
    kind: KIND,
    response: { uid, ...response },
  });
  const pod = `${namespace}/${nameOf(object)}`;
  if (resource !== 'v1/Pod' || operation !== 'CREATE') {
    const detail = `${operation} ${resource} is none of weft's business`;
    return ok({ answer: answer({ allowed: true }), pod, outcome: 'left alone', detail });
  }
  const read = readPod(object);
  const injection = read.ok ? injectPod(read.value, defaults) : read;
  if (!injection.ok) {
    const detail = injection.error.map(formatComplaint).join('; ');
    const status = { code: 400, reason: 'Invalid', message: `weft: ${detail}` };
    return ok({ answer: answer({ allowed: false, status }), pod, outcome: 'refused', detail });
  }
  const { kind, template } = injection.value;
  const operations = jsonPatch(object, template);
  const encoded = Buffer.from(JSON.stringify(operations)).toString('base64');
  const patch = operations.length === 0 ? {} : { patchType: 'JSONPatch', patch: encoded };
  if (kind === 'left alone') {
    // There is something to patch where weft is in it from an earlier call: it would redirect what is none of its own.
    return ok({ answer: answer({ allowed: true, ...patch }), pod, outcome: kind, detail: injection.value.why });
  }
  const { notes } = injection.value;
  if (operations.length === 0) return ok({ answer: answer({ allowed: true }), pod, outcome: 'unchanged', detail: '' });
  const warnings = notes.length === 0 ? {} : { warnings: notes.map((note) => `weft: ${note}`) };
  const response = { allowed: true, ...patch, ...warnings };
  return ok({ answer: answer(response), pod, outcome: kind, detail: notes.join('; ') });
}

function readRequest(body: string): Result<ReviewRequest, string> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return err('the body is no JSON');
  }
  if (!isObject(value) || value['kind'] !== KIND) return err('the body is no AdmissionReview');
  if (value['apiVersion'] !== API_VERSION) return err(`only AdmissionReviews of ${API_VERSION} are answered`);
  const request = value['request'];
  if (!isObject(request) || typeof request['uid'] !== 'string')
    return err('the AdmissionReview holds no request with uid');
  const { uid, kind, object } = request;
  const { group, version, kind: name } = isObject(kind) ? kind : {};
  const prefix = textOf(group) === '' ? '' : `${textOf(group)}/`;
  return ok({
    uid,
    namespace: textOf(request['namespace']),
    resource: `${prefix}${textOf(version)}/${textOf(name)}`,
    operation: textOf(request['operation']),
    object,
  });
}

/** Pods of a controller have no name yet. */
function nameOf(object: unknown): string {
  const metadata = isObject(object) && isObject(object['metadata']) ? object['metadata'] : {};
  const name = textOf(metadata['name']);
  return name === '' ? `${textOf(metadata['generateName'])}*` : name;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
